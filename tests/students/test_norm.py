"""Batch norm, ReLU and mask in one node are the three in a row."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.settings import student_settings
from torch import nn

from embcomp.config import read_choice
from embcomp.students import build_student, compiled, frame_mask
from embcomp.students.norm import NormReLU, channels_last
from embcomp.students.output import unless_full

LENGTHS = torch.tensor([13, 9, 5, 1])
CL = torch.channels_last


def maps(channels=6, dtype=torch.float32, layout=CL):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(LENGTHS), channels, 4, 13, generator=generator, dtype=torch.float64)
    return x.to(dtype).contiguous(memory_format=layout)


def pair(channels=6, dtype=torch.float32):
    """Ours, and the plain layer with the same weights and statistics."""
    generator = torch.Generator().manual_seed(1)
    plain = nn.BatchNorm2d(channels, dtype=dtype)
    with torch.no_grad():
        plain.weight.copy_(torch.randn(channels, generator=generator))
        plain.bias.copy_(torch.randn(channels, generator=generator))
    ours = NormReLU(channels, dtype=dtype)
    ours.load_state_dict(plain.state_dict())
    return ours, plain


@pytest.mark.parametrize("layout", [CL, torch.contiguous_format])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_values_statistics_and_gradients_are_those_of_the_three_layers(layout, with_mask, training):
    ours, plain = (layer.train(training) for layer in pair())
    mask = frame_mask(LENGTHS, 13)[:, None, None] if with_mask else None
    inputs = [maps(layout=layout).requires_grad_() for _ in range(2)]
    found = ours(inputs[0], mask)
    expected = torch.relu(plain(inputs[1]))
    expected = expected if mask is None else expected * mask
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    found.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for (name, one), (_, other) in zip(ours.named_parameters(), plain.named_parameters()):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for (name, one), (_, other) in zip(ours.named_buffers(), plain.named_buffers()):
        torch.testing.assert_close(one, other, msg=name)


def test_without_momentum_the_statistics_are_the_mean_over_all_batches():
    ours, plain = pair()
    for layer in (ours, plain):
        layer.momentum = None
    for scale in (1.0, 2.0, 5.0):
        ours(scale * maps())
        plain(scale * maps())
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)


def test_its_gradient_is_that_of_finite_differences():
    ours, _ = pair(3, torch.float64)
    mask = frame_mask(LENGTHS, 13)[:, None, None].double()
    x = maps(3, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda *inputs: ours(inputs[0], mask), (x, ours.weight, ours.bias))


def test_frozen_weights_get_no_gradient_and_the_input_still_does():
    ours, _ = pair()
    ours.requires_grad_(False)
    x = maps().requires_grad_()
    ours(x).sum().backward()
    assert ours.weight.grad is None and x.grad is not None


@pytest.mark.parametrize("kind", ["ds_cnn", "cp_resnet", "mobile_fcn"])
def test_the_maps_of_a_student_keep_their_channels_last(kind, monkeypatch):
    monkeypatch.setattr(compiled, "kernels", lambda *_: None)
    network = build_student(student_settings(kind=kind), 3, 32).train()
    seen = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda layer, inputs, output: seen.append((inputs[0], output)))
    network(torch.randn(2, 32, 101), None)
    assert len(seen) > 5
    assert all(tensor.is_contiguous(memory_format=CL) for tensors in seen for tensor in tensors)


@pytest.mark.parametrize("kind", ["ds_cnn", "cp_resnet", "mobile_fcn"])
def test_clips_that_fill_their_rows_need_no_mask(kind):
    torch.manual_seed(0)
    network = build_student(read_choice("student", {"kind": kind, "dropout": 0.0}, strict=False), 3, 32).train()
    twin = copy.deepcopy(network)
    features = torch.randn(4, 32, 101)
    network(features, None).logits.sum().backward()
    twin(features, torch.full((4,), 101)).logits.sum().backward()
    for (name, one), (_, other) in zip(network.named_parameters(), twin.named_parameters()):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_lengths_are_left_out_where_every_clip_fills_its_row():
    assert unless_full(torch.tensor([7, 7]), 7) is None
    ragged = torch.tensor([7, 6])
    assert unless_full(ragged, 7) is ragged
    assert unless_full(torch.tensor([6, 6]), 7) is not None


def test_channels_last_leaves_maps_that_are_so_as_they_are():
    x = maps()
    assert channels_last(x).data_ptr() == x.data_ptr()
