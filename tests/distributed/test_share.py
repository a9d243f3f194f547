"""A share of a batch gives what the whole batch gives; in this process alone."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.settings import student_settings
from helpers.together import Mirror, Silent
from torch import nn

from embcomp.audio.augment import augment
from embcomp.config import TrainingConfig
from embcomp.distributed import ALONE, Group, Share, active, adding, current, joined
from embcomp.distributed.layers import shared_layers
from embcomp.errors import ConfigError, ProcessLostError
from embcomp.students import build_student, compiled
from embcomp.training.augment import augmented_apart, shifted

STUDENTS = {
    "ds_cnn": {"kind": "ds_cnn", "width": 16, "embedding": 8, "dropout": 0.0},
    "bc_resnet": {"kind": "bc_resnet", "dropout": 0.0},
    "mlp": {"kind": "mlp", "width": 16, "dropout": 0.0},
    "cnn": {"kind": "cnn", "width": 8, "dropout": 0.0},
}


def clips(kind: str, count: int = 3):
    generator = torch.Generator().manual_seed(0)
    shape = {"mlp": (24, 1), "cnn": (3, 12, 10)}.get(kind, (24, 20))
    features = torch.randn(count, *shape, generator=generator)
    lengths = torch.full((count,), shape[-1])
    return features, lengths if kind in ("mlp", "cnn") else torch.tensor([20, 13, 9])[:count]


@pytest.mark.parametrize("whole", [1, 5, 8, 33])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_cover_a_batch_and_are_as_even_as_they_can_be(whole, world):
    shares = [Share.of(whole, Group(rank, world)) for rank in range(world)]
    assert [place for one in shares for place in range(whole)[one.own]] == list(range(whole))
    sizes = [one.last - one.first for one in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_share_of_a_part_lies_where_its_clips_do():
    chosen = torch.tensor([True, False, True, True, False, True, True])
    parts = [Share.of(7, Group(rank, 3)).within(chosen) for rank in range(3)]
    numbers = chosen.nonzero().squeeze(1)
    for rank, part in enumerate(parts):
        own = Share.of(7, Group(rank, 3)).own
        expected = [number for number in numbers.tolist() if own.start <= number < own.stop]
        assert numbers[part.own].tolist() == expected and part.whole == 5


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "layers"])
@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_on_half_a_batch_is_the_student_on_all_of_it(name, kernels, monkeypatch):
    if not kernels:
        monkeypatch.setattr(compiled, "kernels", lambda *_: None)
    torch.manual_seed(0)
    whole = build_student(student_settings(**STUDENTS[name]), 4, 3 if name == "cnn" else 24).train()
    half = copy.deepcopy(whole)
    features, lengths = clips(name)
    # The gradient of a clip is the same in both halves, and so is that of the weights.
    weights = torch.randn(len(features), 4, generator=torch.Generator().manual_seed(1))
    expected = whole(torch.cat([features, features]), torch.cat([lengths, lengths])).logits
    (expected * torch.cat([weights, weights])).sum().backward()
    share = Share(2 * len(features), 0, len(features), Mirror())
    with shared_layers(share):
        found = half(features, lengths).logits
    (found * weights).sum().backward()
    torch.testing.assert_close(found, expected[: len(features)], rtol=1e-4, atol=1e-5)
    for (label, one), other in zip(whole.named_parameters(), half.parameters()):
        torch.testing.assert_close(
            2 * other.grad, one.grad, rtol=2e-3, atol=2e-4, msg=lambda text, at=label: f"{at}: {text}"
        )
    for (label, one), other in zip(whole.named_buffers(), half.buffers()):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5, msg=lambda text, at=label: f"{at}: {text}")


def test_nothing_of_it_is_left_behind():
    layer = nn.BatchNorm1d(3)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with shared_layers(Share(8, 0, 4, Mirror())):
        assert active() is not None
        layer(x)
    assert active() is None and current() is ALONE
    expected = (x - x.mean(0)) / (x.var(0, correction=0) + layer.eps).sqrt()
    torch.testing.assert_close(layer(x), expected)


def test_gradients_of_batch_norm_are_those_of_its_formula():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 4, generator=generator, dtype=torch.float32).requires_grad_()
    weight = torch.randn(3, generator=generator).requires_grad_()
    bias = torch.randn(3, generator=generator).requires_grad_()
    factors = torch.randn(5, 3, 4, generator=generator)
    with shared_layers(Share(5, 0, 5, Silent(0, 1))):
        found = nn.functional.batch_norm(x, None, None, weight, bias, True)
    gradients = torch.autograd.grad((found * factors).sum(), [x, weight, bias])
    mean, variance = x.mean((0, 2), keepdim=True), x.var((0, 2), correction=0, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * weight.view(1, -1, 1) + bias.view(1, -1, 1)
    torch.testing.assert_close(found, expected)
    for one, other in zip(gradients, torch.autograd.grad((expected * factors).sum(), [x, weight, bias])):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_draws_for_the_whole_batch(kind, layout):
    layer, x = kind(0.4), torch.rand(7, 4, 3, 5).add(1).contiguous(memory_format=layout)
    torch.manual_seed(3)
    expected, after = layer(x), torch.rand(1)
    for rank in range(3):
        share = Share.of(7, Silent(rank, 3))
        torch.manual_seed(3)
        with shared_layers(share):
            found = layer(x[share.own])
        assert torch.equal(found, expected[share.own]) and torch.equal(torch.rand(1), after)
    layer.eval()
    with shared_layers(share):
        assert layer(x) is x


@pytest.mark.parametrize("world", [2, 3])
def test_augmentation_draws_for_the_whole_batch(world):
    config = TrainingConfig(equaliser=3.0, unlabelled_gain=2.0, unlabelled_roll=0.2)
    generator = torch.Generator().manual_seed(0)
    features, lengths = torch.randn(8, 24, 20, generator=generator), torch.randint(9, 21, (8,), generator=generator)
    unlabelled = torch.tensor([True, True, True, True, False, False, True, False])
    images = torch.randn(8, 3, 6, 5, generator=generator)

    def draws(run):
        own = torch.Generator().manual_seed(7)
        return run(own), torch.rand(1, generator=own)

    runs = [
        lambda own, share=None, at=slice(None): augment(features[at], lengths[at], config, own, share),
        lambda own, share=None, at=slice(None): augmented_apart(
            features[at], lengths[at], unlabelled, config, own, share
        ),
        lambda own, share=None, at=slice(None): shifted(images[at], 0.4, own, share),
    ]
    for run in runs:
        expected, after = draws(run)
        for rank in range(world):
            share = Share.of(8, Silent(rank, world))
            found, still = draws(lambda own, run=run, share=share: run(own, share, share.own))
            assert torch.equal(found, expected[share.own]) and torch.equal(still, after)


def test_rows_of_both_processes_are_gathered_in_order_with_types_kept():
    class Other(Group):
        """The other process has the numbers 3 and 4."""

        def sum_(self, tensor):
            tensor[2:] += torch.tensor([[3.0, 7.0, 7.0], [4.0, 8.0, 8.0]])
            return tensor

    share = Share.of(4, Other(0, 2))
    numbers, vectors = share.gathered(torch.tensor([1, 2]), torch.tensor([[5.0, 5.0], [6.0, 6.0]]))
    assert numbers.tolist() == [1, 2, 3, 4] and numbers.dtype == torch.int64
    assert vectors.tolist() == [[5, 5], [6, 6], [7, 7], [8, 8]]


def test_the_gradient_of_gathered_rows_is_that_of_the_own_ones_for_a_mean_over_processes():
    share = Share.of(4, Silent(1, 2))
    x, unused = torch.ones(2, 3, requires_grad=True), torch.ones(2, 1, requires_grad=True)
    whole, _ = share.with_gradient(x, unused)
    (whole * torch.arange(4.0).unsqueeze(1)).sum().backward()
    assert x.grad.tolist() == [[4, 4, 4], [6, 6, 6]] and unused.grad is None


def test_what_goes_wrong_in_a_sum_of_compiled_code_is_raised():
    class Lost(Group):
        def sum_(self, tensor):
            raise ProcessLostError("gone")

    student = build_student(student_settings(**STUDENTS["ds_cnn"]), 4, 24).train()
    features, lengths = clips("ds_cnn")
    with pytest.raises(ProcessLostError, match="gone"), shared_layers(Share.of(6, Lost(0, 2))):
        student(features, lengths)
    with adding(None, 5) as (count, address):
        assert (count, address) == (5, None)


def test_alone_there_is_nobody_to_ask(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined() as group, group.in_turn():
        assert group is ALONE and group.first and group.of_first(2.5) == 2.5
        group.check_agreement({"clips": 1})


@pytest.mark.parametrize("device", ["mps", "cuda:1"])
def test_a_device_that_processes_cannot_share_is_refused(device, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"several processes train on cpu or cuda, not {device}"), joined(device):
        pass
