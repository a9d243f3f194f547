"""Students of tables and images: what they give, what normalises them, and that they are saved whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from embcomp.config import AudioConfig, TrainingConfig, read_choice
from embcomp.data.inputs import InputSpec
from embcomp.errors import ArtifactError, ConfigError
from embcomp.students import CNN, MLP, count_parameters
from embcomp.students.adapt import reestimate
from embcomp.students.classifier import Classifier
from embcomp.students.cost import latency, student_cost
from embcomp.students.standardise import Standardise
from embcomp.training.augment import augmented, mixed, shifted

TABLE = InputSpec("table", (5, 1), tuple("abcde"))
IMAGES = InputSpec("images", (2, 7, 6))


def classifier(kind: str, spec: InputSpec, seed: int = 0, **options) -> Classifier:
    settings = read_choice("student", {"kind": kind, **options})
    return Classifier.new(("x", "y", "z"), AudioConfig(), settings, False, seed, spec)


CASES = [("mlp", TABLE), ("cnn", IMAGES)]


def test_standardised_columns_are_those_of_scikit_learn():
    rows = np.random.default_rng(0).normal(3, [1, 10, 1e-3, 2, 1], size=(40, 5)).astype(np.float32)
    rows[:, 3] = 7
    layer = Standardise("global", 5)
    layer.fit(torch.from_numpy(rows)[:, :, None])
    expected = StandardScaler().fit(rows.astype(np.float64)).transform(rows)
    np.testing.assert_allclose(layer(torch.from_numpy(rows)[:, :, None])[:, :, 0], expected, atol=1e-3)
    assert torch.isfinite(layer(torch.full((1, 5, 1), 8.0))).all()


def test_an_image_is_normalised_by_itself_and_a_blank_one_is_zero():
    images = torch.rand(3, 1, 6, 6)
    layer = Standardise("image", 1)
    torch.testing.assert_close(layer(5 * images + 3), layer(images), atol=1e-3, rtol=1e-3)
    assert not layer(torch.full((1, 1, 6, 6), 9.0)).any()


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_a_student_gives_what_every_student_gives(kind, spec):
    network = classifier(kind, spec).network.train()
    output = network(torch.randn(4, *spec.shape), None)
    assert output.logits.shape == (4, 3) and output.embedding.shape == (4, network.embedding_width)
    assert output.frames.ndim == 3 and torch.equal(output.stages[-1], output.frames)
    output.logits.square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in network.parameters())
    assert not network.eval()(torch.randn(4, *spec.shape), None).stages


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_a_saved_student_is_the_same(kind, spec, tmp_path):
    student = classifier(kind, spec, width=8)
    rows = torch.randn(6, *spec.shape)
    student.network.norm.fit(rows)
    student.save(tmp_path / "s")
    again = Classifier.load(tmp_path / "s")
    assert again.inputs == spec
    torch.testing.assert_close(again.network(rows, None).logits, student.network.eval()(rows, None).logits)


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_cost_counts_one_input(kind, spec):
    student = classifier(kind, spec, width=8, embedding=4)
    cost = student_cost(student)
    assert cost.parameters == count_parameters(student.network) and cost.seconds == 0 and cost.macs > 0
    assert 0 < latency(student, 3) < 1
    if kind == "mlp":
        assert cost.macs == 5 * 8 + 8 * 8 + 8 * 4 + 4 * 3


def test_a_damaged_description_is_refused(tmp_path):
    classifier("mlp", TABLE).save(tmp_path / "s")
    path = tmp_path / "s/config.json"
    for before, after in (('"table"', '"images"'), ('"a",', ""), ('"mlp"', '"ds_cnn"')):
        text = path.read_text()
        path.write_text(text.replace(before, after, 1))
        with pytest.raises(ArtifactError, match="train the student again"):
            Classifier.load(tmp_path / "s")
        path.write_text(text)


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_statistics_are_those_of_the_other_set_and_weights_stay(kind, spec):
    student = classifier(kind, spec, width=8)
    rows, other = torch.randn(50, *spec.shape), 3 * torch.randn(64, *spec.shape) + 5
    student.network.norm.fit(rows)
    lengths = torch.full((64,), spec.shape[-1])
    adapted = reestimate(student.network, other, lengths)
    normalised = adapted.norm(other)
    assert normalised.mean().abs() < 1e-3 and normalised.std() == pytest.approx(1, abs=1e-2)
    assert all(torch.equal(one, two) for one, two in zip(adapted.parameters(), student.network.parameters()))
    adapted.train()
    drawn = adapted(other, None).logits
    adapted.dropout.p = 0.0
    drawn = adapted(other, None).logits
    torch.testing.assert_close(adapted.eval()(other, None).logits, drawn, atol=0.05, rtol=0.05)


def test_images_move_by_whole_pixels_and_tables_stay():
    images = torch.rand(40, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    moved = shifted(images, 0.125, generator)
    centre = moved[:, :, 1:-1, 1:-1]
    pieces = torch.stack([images[:, :, 1 + y : 7 + y, 1 + x : 7 + x] for y in (-1, 0, 1) for x in (-1, 0, 1)])
    matches = (pieces == centre).flatten(2).all(2)
    assert matches.any(0).all() and matches.any(1).sum() > 4
    again = shifted(images, 0.125, torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)
    rows, off = torch.rand(4, 5, 1), TrainingConfig(gain=0, equaliser=0, roll=0, freq_mask=0, time_mask=0)
    assert torch.equal(augmented(rows, torch.ones(4, dtype=torch.long), off, generator), rows)


@pytest.mark.parametrize("shape", [(4, 5, 1), (4, 2, 7, 6)])
def test_mixed_inputs_are_between_both(shape):
    one, other, lengths = torch.rand(shape), torch.rand(shape), torch.full((4,), shape[-1])
    shares = torch.tensor([1.0, 0.75, 0.5, 0.6])
    weight = shares.view(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(mixed(one, lengths, other, lengths, shares), weight * one + (1 - weight) * other)


def test_what_is_for_audio_says_so():
    with pytest.raises(ConfigError, match="export is for students that take audio; this one takes tables"):
        classifier("mlp", TABLE).needs_audio("export")


def test_default_students_are_small():
    assert count_parameters(MLP(10, 64)) < 20_000 and count_parameters(CNN(10, 1)) < 40_000
