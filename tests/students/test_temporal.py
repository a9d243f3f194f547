"""TC-ResNet by the compiled kernels gives what its layers give, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from embcomp.students import TCResNet, compiled, temporal

pytestmark = pytest.mark.skipif(compiled.kernels() is None, reason=f"no kernels: {compiled.why_not()}")


def trained(**options):
    """A student in training whose norms have weights and statistics that a start does not have."""
    torch.manual_seed(3)
    student = TCResNet(7, dropout=0.0, **options).train()
    for layer in student.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
            layer.running_mean.normal_(), layer.running_var.uniform_(0.5, 2)
    return student


def grown(student, features, lengths):
    """What comes of clips, and the gradients of a loss that looks at all of it."""
    output = student(features, lengths)
    loss = output.logits.square().sum() + output.embedding.cos().sum()
    (loss + sum((number * stage.sin()).sum() for number, stage in enumerate(output.stages, 1))).backward()
    return output, {name: parameter.grad for name, parameter in student.named_parameters()}


def layers(monkeypatch, run):
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "kernels", lambda *_: None)
        return run()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("n_mels", "frames", "options"),
    [
        (40, 121, {}),
        (64, 50, {"deep": True, "width_multiplier": 1.5}),
        (33, 13, {"width_multiplier": 0.5}),  # fewer channels than a register holds
        (40, 2, {"deep": True}),  # fewer frames than a convolution sees
    ],
)
def test_a_student_learns_the_same_by_kernels_and_by_layers(monkeypatch, n_mels, frames, options, masked):
    features = torch.randn(4, n_mels, frames, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([frames, max(1, frames // 2), max(1, frames // 5), 1]) if masked else None
    student = trained(n_mels=n_mels, **options)
    twin = copy.deepcopy(student)
    found, gradients = grown(student, features, lengths)
    expected, others = layers(monkeypatch, lambda: grown(twin, features, lengths))
    for one, other in zip((*found[:3], *found.stages), (*expected[:3], *expected.stages)):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    for name, gradient in gradients.items():
        scale = others[name].abs().max()
        torch.testing.assert_close(gradient / scale, others[name] / scale, atol=2e-3, rtol=0, msg=name)
    for (name, one), (_, other) in zip(student.named_buffers(), twin.named_buffers()):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5, msg=name)


def test_gradients_are_those_of_the_layers_in_double_precision():
    """The error is that of float32, not one of the formulas."""
    features = torch.randn(6, 20, 31, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([31, 31, 20, 20, 9, 3])
    student = trained(n_mels=20)
    double = copy.deepcopy(student).double()
    _, gradients = grown(student, features, lengths)
    _, expected = grown(double, features.double(), lengths)
    for name, gradient in gradients.items():
        far = torch.linalg.vector_norm(gradient - expected[name]) / torch.linalg.vector_norm(expected[name])
        assert far < 2e-3, name


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_share_the_clips(threads):
    features, lengths = torch.randn(4, 40, 31), torch.tensor([31, 20, 9, 3])
    student, before = trained(n_mels=40), torch.get_num_threads()
    twin = copy.deepcopy(student)
    _, expected = grown(student, features, lengths)
    torch.set_num_threads(threads)
    try:
        _, found = grown(twin, features, lengths)
    finally:
        torch.set_num_threads(before)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-3, rtol=1e-3, msg=name)


def test_layers_do_what_the_kernels_cannot():
    features = torch.randn(3, 40, 20)
    student = trained(n_mels=40)
    assert temporal.usable(features, student._norms)
    assert not temporal.usable(features.double(), student._norms)
    assert not temporal.usable(features.clone().requires_grad_(), student._norms)  # of trained input normalisation
    assert not temporal.usable(features[:1], student._norms)
    with torch.autocast("cpu", torch.bfloat16):
        assert not temporal.usable(features, student._norms)
    student.stages[1][0].norm2.eval()
    before = copy.deepcopy(student.state_dict())
    assert not temporal.usable(features, student._norms)
    student(features, None)
    assert torch.equal(student.stages[1][0].norm2.running_mean, before["stages.1.0.norm2.running_mean"])
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        trained(n_mels=40)(features[:1, :, :1], None)


def test_trained_input_normalisation_gets_its_gradient():
    student = trained(n_mels=40, norm="blend")
    grown(student, torch.randn(3, 40, 20), None)
    assert student.norm.strength.grad.abs().sum() > 0


def test_what_is_not_a_number_comes_out_as_such():
    features = torch.randn(3, 40, 20)
    features[0, 0, 0] = torch.nan
    assert trained(n_mels=40, norm="none")(features, None).logits.isnan().any()
