"""The compiled kernels give what the layers give, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from embcomp.students import DSCNN, MobileFCN, compiled, fused
from embcomp.students.compiled import kernels, why_not
from embcomp.students.norm import NormReLU
from embcomp.students.output import frame_mask
from embcomp.students.separable import Separable

pytestmark = pytest.mark.skipif(kernels() is None, reason=f"no kernels: {why_not()}")
LENGTHS = torch.tensor([13, 9, 5, 1])
BFLOAT = torch.bfloat16


@pytest.fixture
def layers(monkeypatch):
    """A function that has its argument called without the kernels."""

    def without(run):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "kernels", lambda *_: None)
            return run()

    return without


def maps(channels, bands=7, frames=13):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(LENGTHS), channels, bands, frames, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def mask_of(frames=13):
    return frame_mask(LENGTHS, frames)[:, None, None]


def trained(module, seed=3):
    """Weights and statistics that a start does not have."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
            layer.running_mean.normal_(), layer.running_var.uniform_(0.5, 2)
    return module.train()


def grown(module, run, x):
    """Output, and gradients of the input and of every parameter, for a fixed gradient from above."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = run(module, x)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).to(out.dtype))
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    return out.detach(), {"x": x.grad, **gradients}


def compare(module, run, x, layers, **tolerance):
    twin = copy.deepcopy(module)
    found, gradients = grown(module, run, x)
    expected, others = layers(lambda: grown(twin, run, x))
    torch.testing.assert_close(found, expected, **tolerance)
    for name, gradient in gradients.items():
        scale = others[name].abs().max()
        torch.testing.assert_close(gradient / scale, others[name] / scale, **tolerance, msg=name)
    for (name, one), (_, other) in zip(module.named_buffers(), twin.named_buffers()):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize(("channels", "wide"), [(16, 16), (16, 64), (48, 32), (64, 64), (64, 128), (80, 112)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_a_separable_block_is_its_layers(layers, channels, wide, stride, masked):
    block = trained(Separable(channels, wide, stride))
    mask = mask_of() if masked else None
    compare(block, lambda block, x: block(x, mask)[0], maps(channels), layers, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("bands", "frames"), [(1, 13), (2, 13), (8, 101), (40, 300)])
def test_maps_of_any_size(layers, bands, frames):
    block = trained(Separable(16, 32, 2))
    compare(block, lambda block, x: block(x, None)[0], maps(16, bands, frames), layers, atol=5e-5, rtol=1e-4)


def test_maps_with_channels_first_and_a_gradient_of_any_layout(layers):
    block = trained(Separable(16, 16, 1))
    first = maps(16).contiguous()
    compare(block, lambda block, x: block(x, None)[0].mean(2), first, layers, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_share_the_clips(layers, threads):
    block, before = trained(Separable(16, 32, 1)), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(block, lambda block, x: block(x, mask_of())[0], maps(16), layers, atol=2e-5, rtol=1e-4)
    finally:
        torch.set_num_threads(before)


def test_a_mean_far_from_zero_loses_no_digits(layers):
    block = trained(Separable(16, 16, 1))
    compare(block, lambda block, x: block(x, None)[0], 1000 + maps(16), layers, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 13, 100])
def test_the_stem_is_its_layers(layers, frames, masked):
    stem = trained(nn.ModuleList([nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False), NormReLU(32)]))
    mask = frame_mask(LENGTHS, -(-frames // 2))[:, None, None] if masked else None

    def run(stem, x):
        x = x.detach()  # the stem's input gets no gradient
        if fused.usable(x, fused.halved(x), stem[0]):
            return fused.stem(x, *stem, mask)
        return stem[1](stem[0](x), mask)

    twin = copy.deepcopy(stem)
    x = maps(1, 9, frames)
    out = run(stem, x)
    expected = layers(lambda: run(twin, x))
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=1e-4)
    for result in (out, expected):
        result.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(5)))
    for (name, one), (_, other) in zip(stem.named_parameters(), twin.named_parameters()):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("masked", [False, True])
def test_the_convolution_across_bands_is_its_layers(layers, masked):
    pair = trained(nn.ModuleList([nn.Conv2d(32, 32, (7, 1), groups=32, bias=False), NormReLU(32)]))
    mask = mask_of() if masked else None

    def run(pair, x):
        return fused.across(x, *pair, mask) if fused.usable(x, (1, 13), pair[0]) else pair[1](pair[0](x), mask)

    compare(pair, run, maps(32), layers, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "n_mels"), [(lambda: DSCNN(5, 40, dropout=0.0), 40), (lambda: MobileFCN(5, 32, dropout=0.0), 32)]
)
@pytest.mark.parametrize("masked", [False, True])
def test_a_student_learns_the_same_by_kernels_and_by_layers(layers, build, n_mels, masked):
    torch.manual_seed(0)
    lengths = torch.tensor([101, 80, 33, 7]) if masked else None
    features = torch.randn(4, n_mels, 101)

    student = build().train()
    twin = copy.deepcopy(student)
    target = torch.arange(4)
    torch.nn.functional.cross_entropy(student(features, lengths).logits, target).backward()
    layers(lambda: torch.nn.functional.cross_entropy(twin(features, lengths).logits, target).backward())
    one, other = (torch.cat([p.grad.flatten() for p in network.parameters()]) for network in (student, twin))
    assert torch.linalg.vector_norm(one - other) < 5e-3 * torch.linalg.vector_norm(other)


def test_under_autocast_maps_are_bfloat16_and_gradients_close_to_those_of_float32(layers):
    block, x = trained(Separable(64, 64, 1)), maps(64)
    twin = copy.deepcopy(block)

    def run(block, x):
        with torch.autocast("cpu", BFLOAT):
            return block(x, mask_of())[0]

    found, gradients = grown(block, run, x)
    assert found.dtype == BFLOAT
    expected, others = layers(lambda: grown(twin, lambda block, x: block(x, mask_of())[0], x))
    torch.testing.assert_close(found.float(), expected, atol=0.06, rtol=0.03)
    for name, gradient in gradients.items():
        assert torch.nn.functional.cosine_similarity(gradient.flatten(), others[name].flatten(), dim=0) > 0.995, name


def test_what_is_not_a_number_comes_out_as_such():
    block, x = trained(Separable(16, 16, 1)), maps(16)
    x[0, 0, 0, 0] = torch.nan
    assert block(x, None)[0].isnan().any()


def test_layers_do_what_the_kernels_cannot():
    few = maps(10)
    assert not fused.usable(few, (7, 13), Separable(10, 16, 1).depthwise)
    assert Separable(10, 16, 1).train()(few, None)[0].shape == (4, 16, 7, 13)
    double = Separable(16, 16, 1).double().train()
    assert double(maps(16).double(), None)[0].dtype == torch.float64
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        Separable(16, 16, 1).train()(maps(16)[:1, :, :1, :1], None)


def test_a_norm_in_evaluation_keeps_its_statistics_inside_a_student_in_training():
    block = trained(Separable(16, 16, 1))
    block.norm2.eval()
    before = copy.deepcopy(block.state_dict())
    block(maps(16), None)
    assert torch.equal(block.norm2.running_mean, before["norm2.running_mean"])
    assert not torch.equal(block.norm1.running_mean, before["norm1.running_mean"])


def test_in_evaluation_the_layers_are_called_so_that_hooks_and_exports_see_them():
    block, seen = Separable(16, 16, 1).eval(), []
    block.norm1.register_forward_hook(lambda *_: seen.append(1))
    block(maps(16), None)
    assert seen
