"""Normalisation statistics re-estimated on unlabelled clips: exact, order-free, and nothing else changes."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.settings import student_settings
from helpers.tones import write_tones
from helpers.transfer_cases import CLASSES, examples, prepared, trained
from torch import nn

from embcomp.cli import group
from embcomp.config import AudioConfig, read_choice
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.evaluation.probes import knn_probe, linear_probe
from embcomp.evaluation.scores import evaluate
from embcomp.storage.files import file_hash
from embcomp.students import STUDENTS, build_student
from embcomp.students.adapt import BATCH_NORMS, reestimate
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits


def student(kind="ds_cnn", norm="none", seed=0):
    """With statistics that no data has, so that a layer left as it was shows."""
    torch.manual_seed(seed)
    keys = {"kind": kind, "width": 16, "embedding": 16, "norm": norm, "dropout": 0.0}
    network = build_student(read_choice("student", keys, strict=False), CLASSES, 24)
    for layer in norms(network):
        nn.init.uniform_(layer.running_mean, -1, 1)
        nn.init.uniform_(layer.running_var, 0.5, 2)
    return network.eval()


def norms(network):
    return [module for module in network.modules() if isinstance(module, BATCH_NORMS)]


def statistics(network):
    return [getattr(layer, name) for layer in norms(network) for name in ("running_mean", "running_var")]


def accuracy(network, data):
    return float((predict_logits(network, data.features, data.lengths).argmax(1).numpy() == data.labels.index).mean())


@pytest.fixture(scope="module")
def learned():
    """A student of the three classes that looks at levels, and the clips it learned from."""
    data = examples(96, frames=24)
    network, _ = trained(prepared("none", data), data, student(), steps=60)
    return network, data


@pytest.mark.parametrize("kind", [student.name for student in STUDENTS if "audio" in student.takes])
def test_statistics_are_those_of_torch_over_all_clips_in_one_batch(kind):
    features, lengths = examples(20, frames=24).features, torch.full((20,), 24)
    whole = student(kind)
    for layer in norms(whole):
        layer.momentum = 1.0
    whole.train()(features, lengths)
    # The training pass normalises by the biased variance, evaluation by the unbiased one; the channels of 20 clips
    # have some 20 values in the deepest layers.
    for found, expected in zip(statistics(reestimate(student(kind), features, lengths, 7)), statistics(whole)):
        torch.testing.assert_close(found, expected, rtol=0.1, atol=5e-3)


def test_unequal_batches_and_order_do_not_matter():
    data = examples(23, frames=24)
    lengths = torch.full((23,), 24)
    expected = statistics(reestimate(student(), data.features, lengths, 23))
    turned = torch.arange(22, -1, -1)
    for size in (1, 4, 11):
        found = statistics(reestimate(student(), data.features[turned], lengths, size))
        for one, other in zip(found, expected):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_each_layers_input_has_the_statistics_it_is_given():
    data = examples(30, frames=24)
    lengths = torch.full((30,), 24)
    adapted, seen = reestimate(student(), data.features, lengths, 8), []
    for layer in norms(adapted):
        layer.register_forward_hook(lambda layer, inputs, output: seen.append((layer, inputs[0].detach())))
    adapted(data.features, lengths)
    assert len(seen) == len(norms(adapted)) == 12
    for layer, given in seen:
        variance, mean = torch.var_mean(given, (0, 2, 3))
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.running_var, variance, rtol=1e-3, atol=1e-6)


def test_the_student_given_is_untouched_and_only_statistics_differ(learned):
    network, data = learned
    before = copy.deepcopy(network.state_dict())
    adapted = reestimate(network, data.features + 3, data.lengths)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    changed = {name for name, value in adapted.state_dict().items() if not torch.equal(before[name], value)}
    assert changed and {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var"}
    assert not adapted.training and not any(layer._forward_pre_hooks for layer in norms(adapted))


def test_the_same_clips_give_the_same_bytes(learned):
    network, data = learned
    torch.manual_seed(1)
    one = reestimate(network, data.features, data.lengths)
    torch.manual_seed(2)
    other = reestimate(network, data.features, data.lengths)
    assert all(torch.equal(*pair) for pair in zip(statistics(one), statistics(other)))


def test_on_the_training_clips_themselves_little_changes(learned):
    network, data = learned
    fresh = examples(96, seed=5, frames=24)
    assert accuracy(network, fresh) > 0.9
    assert abs(accuracy(reestimate(network, data.features, data.lengths), fresh) - accuracy(network, fresh)) <= 0.03


@pytest.mark.parametrize("gain, shift", [(1.0, 6.0), (0.6, 6.0), (1.5, -8.0)])
def test_accuracy_recovers_from_a_fixed_gain_and_shift_of_the_input(learned, gain, shift):
    network, _ = learned
    fresh = examples(96, seed=5, frames=24)
    at_home = accuracy(network, fresh)
    moved = replace(fresh, features=fresh.features * gain + shift)
    # Not exactly: frames past a clip's end and outside the bands are zero whatever the shift.
    recovered = accuracy(reestimate(network, moved.features, moved.lengths), moved)
    assert recovered >= at_home - 0.1 > accuracy(network, moved) + 0.1


@pytest.mark.parametrize("gain", [0.3, 5.0])
def test_a_gain_of_what_the_first_batch_norm_sees_is_undone_exactly(learned, gain):
    network, data = learned
    expected = predict_logits(reestimate(network, data.features, data.lengths), data.features, data.lengths)
    abroad = data.features * gain
    found = predict_logits(reestimate(network, abroad, data.lengths), abroad, data.lengths)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
    assert (predict_logits(network, abroad, data.lengths) - expected).abs().max() > 0.5


def test_the_bands_of_a_global_input_norm_are_reestimated_too():
    data = examples(40, frames=24)
    network = student(norm="global")
    network.norm.fit(data.features, data.lengths)
    offsets = torch.linspace(-5, 5, 24)[:, None]
    adapted = reestimate(network, 3 * data.features + offsets, data.lengths)
    at_home = reestimate(network, data.features, data.lengths)
    torch.testing.assert_close(
        predict_logits(adapted, 3 * data.features + offsets, data.lengths),
        predict_logits(at_home, data.features, data.lengths),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_a_probe_recovers_exactly_from_a_shift_and_scale_of_the_whole_set(rng, probe):
    vectors, index = rng.normal(size=(60, 8)), np.arange(60) % 3
    vectors[np.arange(60), index] += 2
    predict = probe(vectors[:40], encode([f"c{number}" for number in index[:40]]))
    scale, shift = rng.uniform(0.1, 10, 8), rng.normal(0, 20, 8)
    home, fresh = vectors[:40], vectors[40:]
    abroad = vectors * scale + shift
    np.testing.assert_allclose(predict(abroad[40:], abroad[:40]), predict(fresh), atol=1e-5)
    np.testing.assert_allclose(predict(abroad[41:44], abroad[:40]), predict(fresh[1:4]), atol=1e-5)
    assert np.abs(predict(abroad[40:]) - predict(fresh)).max() > 0.3
    np.testing.assert_array_equal(predict(fresh, home), predict(fresh))


def test_evaluate_gives_both_and_leaves_the_artifact(tmp_path):
    classifier = Classifier.new(
        ["high", "low"], AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0
    )
    classifier.network.eval()
    classifier.save(tmp_path / "student")
    before = file_hash(tmp_path / "student/weights.safetensors")
    manifest = Manifest.read(write_tones(tmp_path / "abroad", classes=("high", "middle"), groups=2, clips=2))
    loaded = Classifier.load(tmp_path / "student")
    plain = evaluate(loaded, manifest, cache=tmp_path / "cache")
    both = evaluate(loaded, manifest, cache=tmp_path / "cache", reestimate=True)
    assert set(plain.table["setting"]) == {"as trained"} and plain.adapted is None
    assert list(dict.fromkeys(both.table["setting"])) == ["as trained", "adapted"]
    np.testing.assert_array_equal(both.predictions.probabilities, plain.predictions.probabilities)
    assert not np.allclose(both.adapted.probabilities, both.predictions.probabilities, atol=1e-4)
    assert list(both.adapted.ids) == list(both.predictions.ids) and len(both.adapted.ids) == 4
    again = evaluate(loaded, manifest, cache=tmp_path / "cache")
    np.testing.assert_array_equal(again.predictions.probabilities, plain.predictions.probabilities)
    assert file_hash(tmp_path / "student/weights.safetensors") == before
    arguments = [str(tmp_path / "student"), str(tmp_path / "abroad/manifest.csv"), "--out", str(tmp_path / "s.csv")]
    done = CliRunner().invoke(group, ["evaluate", *arguments, "--reestimate"])
    assert done.exit_code == 0 and "tones, adapted  accuracy" in done.output
    written = pd.read_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(written["value"], both.table["value"], atol=1e-5)
