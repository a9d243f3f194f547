"""Students: padding is invisible, every weight learns, and the budget holds."""

from __future__ import annotations

import pytest
import torch
from helpers.outputs import assert_equal_outputs
from helpers.settings import student_settings
from torch import nn

from embcomp.errors import ConfigError
from embcomp.students import DSCNN, STUDENTS, InputNorm, StudentOutput, build_student, count_parameters, frame_mask
from embcomp.students.input_norm import Pcen

KINDS = InputNorm.KINDS
LENGTHS = torch.tensor([57, 40, 33, 8, 1])


def clips(n_mels=32, frames=57):
    generator = torch.Generator().manual_seed(0)
    values = 2 * torch.randn(len(LENGTHS), n_mels, frames, generator=generator) - 8
    return values * frame_mask(LENGTHS, frames).unsqueeze(1)


def student(norm="clip", n_mels=32, **options):
    """A student in evaluation mode whose norms have seen something."""
    torch.manual_seed(0)
    network = build_student(student_settings(width=16, embedding=24, norm=norm, **options), 5, n_mels)
    network.norm.fit(clips(n_mels), LENGTHS)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(clips(n_mels), LENGTHS)
    return network.eval()


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("extra", [1, 2, 7, 64])
@torch.inference_mode()
def test_the_output_does_not_depend_on_how_far_a_batch_is_padded(norm, extra):
    network = student(norm)
    wide = torch.nn.functional.pad(clips(), (0, extra))
    assert_equal_outputs(network(wide, LENGTHS), network(clips(), LENGTHS))


@pytest.mark.parametrize("norm", KINDS)
@torch.inference_mode()
def test_the_output_does_not_depend_on_what_the_padding_holds(norm):
    network = student(norm)
    noise = 100 * torch.randn(clips().shape, generator=torch.Generator().manual_seed(1))
    filled = torch.where(frame_mask(LENGTHS, 57).bool().unsqueeze(1), clips(), noise)
    assert_equal_outputs(network(filled, LENGTHS), network(clips(), LENGTHS))


@pytest.mark.parametrize("n_mels", [32, 40, 50])
@pytest.mark.parametrize("norm", KINDS)
@torch.inference_mode()
def test_a_batch_of_mixed_lengths_is_its_clips_one_by_one(norm, n_mels):
    network = student(norm, n_mels)
    together = network(clips(n_mels), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = network(clips(n_mels)[row : row + 1, :, :length], LENGTHS[row : row + 1])
        assert_equal_outputs(StudentOutput(*(part[row : row + 1] for part in together[:3])), alone)


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("kind", [student.name for student in STUDENTS if "audio" in student.takes])
@torch.inference_mode()
def test_clips_that_fill_their_rows_need_no_lengths(kind, norm):
    torch.manual_seed(0)
    network = build_student(student_settings(kind=kind, norm=norm), 5, 33).double().eval()
    features = clips(33)[:1].expand(2, -1, -1).double()
    assert_equal_outputs(network(features, None), network(features, torch.tensor([57, 57])))


@pytest.mark.parametrize("norm", KINDS)
def test_every_parameter_learns(norm):
    network = student(norm).train()
    output = network(clips(), LENGTHS)
    torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 1, 2, 3, 4])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_the_default_student_has_at_most_a_hundred_thousand_parameters(classes):
    assert 10_000 < count_parameters(build_student(student_settings(), classes, 64)) <= 100_000


def test_parameters_that_do_not_learn_are_not_counted():
    layer = torch.nn.Linear(3, 4)
    assert count_parameters(layer) == 16
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 12


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 57, 101])
@pytest.mark.parametrize("n_mels", [8, 33, 64])
def test_shapes(n_mels, frames):
    network = DSCNN(7, n_mels, width=16, embedding=24).eval()
    output = network(torch.randn(3, n_mels, frames), torch.full((3,), frames))
    assert output.logits.shape == (3, 7)
    assert output.embedding.shape == (3, 24)
    assert output.frames.shape[0] == 3 and output.frames.shape[1] >= 1
    assert all(torch.isfinite(part).all() for part in output[:3])


@torch.inference_mode()
def test_frames_are_zero_where_the_clip_has_ended_and_pool_to_the_embedding():
    network = student()
    output = network(clips(), LENGTHS)
    valid = -(-LENGTHS // 8)
    for row, count in enumerate(valid.tolist()):
        assert not output.frames[row, count:].any()
        pooled = output.frames[row, :count].mean(0)
        torch.testing.assert_close(network.project(pooled), output.embedding[row], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.classify(output.embedding), output.logits)


@torch.inference_mode()
def test_the_order_of_the_batch_does_not_matter():
    network, order = student(), torch.tensor([3, 0, 4, 2, 1])
    expected = StudentOutput(*(part[order] for part in network(clips(), LENGTHS)[:3]))
    assert_equal_outputs(network(clips()[order], LENGTHS[order]), expected)


def test_the_same_seed_builds_the_same_student():
    first, again = student(), student()
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))


def test_dropout_is_off_in_evaluation_and_on_in_training():
    network = student(dropout=0.5)
    with torch.no_grad():
        assert torch.equal(network(clips(), LENGTHS).logits, network(clips(), LENGTHS).logits)
        network.train()
        network.requires_grad_(False)
        assert not torch.equal(network(clips(), LENGTHS).logits, network(clips(), LENGTHS).logits)


def test_an_unknown_student_or_norm_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown student 'ds_cn': did you mean 'ds_cnn'"):
        student_settings(kind="ds_cn")
    with pytest.raises(ConfigError, match="student.norm is 'bands'; did you mean 'band'"):
        DSCNN(3, 64, norm="bands")
    with pytest.raises(ConfigError, match="unknown input normalisation 'bands': did you mean 'band'"):
        InputNorm("bands", 64)


def normalised(kind, values, lengths=LENGTHS):
    norm = InputNorm(kind, values.shape[1])
    norm.fit(clips(values.shape[1]), LENGTHS)
    return norm(values, frame_mask(lengths, values.shape[-1]))


@pytest.mark.parametrize(
    ("kind", "blind"),
    [
        ("none", False),
        ("global", False),
        ("clip", True),
        ("band", True),
        ("blend", True),
        ("residual", True),
        ("pcen", True),
    ],
)
def test_which_norms_are_blind_to_the_level(kind, blind):
    louder = clips() + 3 * frame_mask(LENGTHS, 57).unsqueeze(1)
    assert torch.allclose(normalised(kind, louder), normalised(kind, clips()), atol=1e-4) == blind


@pytest.mark.parametrize(
    ("kind", "blind"),
    [("none", False), ("global", False), ("clip", False), ("band", True), ("blend", False), ("residual", False)],
)
def test_which_norms_are_blind_to_a_fixed_filter(kind, blind):
    tilt = torch.linspace(-4, 4, 32).view(1, -1, 1)
    filtered = clips() + tilt * frame_mask(LENGTHS, 57).unsqueeze(1)
    assert torch.allclose(normalised(kind, filtered), normalised(kind, clips()), atol=1e-4) == blind


@pytest.mark.parametrize("kind", ["clip", "band"])
def test_a_clip_gets_mean_zero_and_deviation_one_over_its_own_frames(kind):
    found = normalised(kind, clips())
    for row, length in enumerate(LENGTHS[:4].tolist()):
        valid = found[row, :, :length]
        assert valid.mean().abs() < 1e-4
        assert valid.std(correction=0) == pytest.approx(1, abs=0.02)
        if kind == "band":
            assert valid.mean(1).abs().max() < 1e-4


def test_the_global_norm_learns_each_band_from_valid_frames_alone():
    norm = InputNorm("global", 32)
    norm.fit(clips(), LENGTHS)
    valid = torch.cat([clips()[row, :, :length] for row, length in enumerate(LENGTHS.tolist())], dim=1)
    torch.testing.assert_close(norm.mean, valid.mean(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(norm.deviation, valid.std(1, correction=0), atol=1e-3, rtol=0)


def test_blend_goes_from_clip_to_band_with_its_strength():
    for strength, kind in ((-20.0, "clip"), (20.0, "band")):
        norm = InputNorm("blend", 32)
        nn.init.constant_(norm.strength, strength)
        found = norm(clips(), frame_mask(LENGTHS, 57))
        torch.testing.assert_close(found, normalised(kind, clips()), atol=1e-4, rtol=1e-4)


def test_residual_is_a_tenth_of_the_clip_beside_each_band_on_its_own():
    values = clips()[:1]
    each = (values - values.mean(-1, keepdim=True)) / (values.std(-1, correction=0, keepdim=True) + 1e-2)
    expected = 0.1 * normalised("clip", values, LENGTHS[:1]) + each
    torch.testing.assert_close(normalised("residual", values, LENGTHS[:1]), expected, atol=1e-4, rtol=1e-4)


def test_pcen_is_its_recursion():
    layer, values = Pcen(32), clips()[:2]
    energies = (values - values[..., :1].amax(1, keepdim=True)).exp()
    smooth, found = energies[..., 0], []
    for frame in range(values.shape[-1]):
        smooth = (1 - 0.025) * smooth + 0.025 * energies[..., frame]
        found.append((energies[..., frame] / (1e-6 + smooth) ** 0.98 + 2.0) ** 0.5 - 2.0**0.5)
    torch.testing.assert_close(layer(values), torch.stack(found, -1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_clip_stays_finite(kind):
    silent = torch.full((1, 32, 20), -11.5)
    found = normalised(kind, silent, torch.tensor([20]))
    assert torch.isfinite(found).all()
    if kind in ("clip", "band"):
        assert found.abs().max() < 1e-3


@pytest.mark.parametrize("frames", [20, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_clip_gives_finite_gradients(kind, frames):
    norm = InputNorm(kind, 32)
    silent = torch.full((2, 32, 20), -11.5, requires_grad=True)
    norm(silent, frame_mask(torch.tensor([20, frames]), 20)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in (silent, *norm.parameters()))


def test_the_mask_holds_ones_up_to_the_length():
    assert frame_mask(torch.tensor([2, 0, 3]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
