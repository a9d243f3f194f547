"""Fine-tuning for 8 bits: what learns, what does not, and that the outcome is never further from the student."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from export.test_onnx import student

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError
from embcomp.export import finetune as tuning
from embcomp.export import int8
from embcomp.export.c_network import flatten
from embcomp.export.clips import choose_clips
from embcomp.export.finetune import finetune
from embcomp.export.source import ExportOptions, StudentSource, open_source
from embcomp.export.writing import export_artifact

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def fragile():
    """A student that reads one channel with weights a hundred times too large, written a hundred times too small."""
    classifier = student(norm="blend")
    with torch.no_grad():
        for block in classifier.network.blocks[2:4]:
            for parameter in (block.norm1.weight, block.norm1.bias):
                parameter[0] /= 100
            block.pointwise.weight[:, 0] *= 100
    return classifier


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 27, 48)
    levels = rng.uniform(-9, -1, 48)
    return [(level + 2 * rng.normal(size=(33, frames))).astype(np.float32) for level, frames in zip(levels, lengths)]


def error(network, other, rows):
    with torch.inference_mode():
        first, second = (
            torch.cat([one(torch.from_numpy(row)[None], None).logits for row in rows]) for one in (network, other)
        )
    return float((first - second).square().mean())


def test_rounded_weights_are_those_of_the_c_file_and_gradients_pass_them_whole(fragile):
    weight = fragile.network.project.weight.detach().clone().requires_grad_()
    found = tuning._Rounding()(weight)
    np.testing.assert_allclose(found.detach(), flatten(fragile.network, True).project.effective, atol=1e-7)
    (found * 3).sum().backward()
    assert (weight.grad == 3).all() and not torch.equal(found, weight)
    assert not tuning._Rounding()(torch.zeros(2, 3)).any()


@pytest.mark.parametrize("activations", [True, False])
def test_a_student_that_rounds_badly_comes_closer_on_clips_it_did_not_learn_from(fragile, rows, activations):
    before = copy.deepcopy(fragile.network.state_dict())
    found = finetune(fragile.network, rows[:24], rows[24:36], activations=activations, steps=50)
    assert found.after < 0.9 * found.before
    if not activations:  # the C file rounds nothing else
        held = rows[36:]
        rounded, tuned = (flatten(one, True).reference for one in (fragile.network, found.network))
        assert error(fragile.network, tuned, held) < 0.9 * error(fragile.network, rounded, held)
    # Layers and batch norms learned, the input norm did not, and the student is as it was.
    changed = {name for name, values in found.network.named_parameters() if not torch.equal(values, before[name])}
    assert changed == set(dict(fragile.network.named_parameters())) - {"norm.strength"}
    for name, values in fragile.network.state_dict().items():
        assert torch.equal(values, before[name]), name
    for name, values in found.network.named_buffers():
        assert torch.equal(values, before[name]), name


def test_layers_in_float_are_not_rounded_and_nothing_lost_means_nothing_changed(fragile, rows):
    every = [name for name, module in fragile.network.named_modules() if isinstance(module, tuning.WEIGHED)]
    found = finetune(fragile.network, rows[:4], rows[4:8], floats=every, steps=2)
    assert found.before == found.after == 0
    for name, values in found.network.state_dict().items():
        assert torch.equal(values, fragile.network.state_dict()[name])


def test_the_best_step_is_kept_and_the_seed_decides(fragile, rows, monkeypatch):
    first, again, other = (finetune(fragile.network, rows[:24], rows[24:36], steps=6, seed=seed) for seed in (0, 0, 1))
    assert first.after == again.after != other.after
    monkeypatch.setattr(tuning, "LEARNING_RATE", 10.0)  # every step does harm
    found = finetune(fragile.network, rows[:24], rows[24:36], steps=6)
    assert found.after == found.before == first.before
    assert torch.equal(found.network.classify.weight, fragile.network.classify.weight)


def test_exported_with_fine_tuning(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 10)
    tones = Manifest.read(trained / "tones/manifest.csv")
    written = export_artifact(
        trained / "student", tmp_path / "s.c", "c", int8=True, finetune=True, calibrate=tones, calibration_clips=12
    )
    notes = written.info.about["finetuned"]
    assert notes["kept"] == (notes["error"][1] < notes["error"][0])
    assert written.info.precision == "int8" and written.parity.largest < 0.1


def test_the_better_of_both_is_written(fragile, rows, monkeypatch):
    from embcomp.export import onnx
    from embcomp.export.base import Calibration

    waves = [(0.1 * np.random.default_rng(row).normal(size=4000 + row)).astype(np.float32) for row in range(8)]
    source = StudentSource(fragile, ExportOptions())
    calibration = Calibration(waves[:4], waves[4:], waves[:4])
    body = onnx.body_graph(source)

    def harmed(network, *args, **options):
        changed = copy.deepcopy(network)
        with torch.no_grad():
            changed.classify.weight.mul_(-5)
        return tuning.Tuned(changed, 1.0, 0.5)

    monkeypatch.setattr(onnx, "finetune", harmed)
    monkeypatch.setattr(int8, "AGREEMENT", 0.0)  # no search for layers in float
    found, notes = onnx._in_8_bits(body, source, calibration)
    assert not notes["finetuned"]["kept"]
    assert found.error == notes["finetuned"]["error"][0] < notes["finetuned"]["error"][1]


def test_clips_to_learn_from_share_no_group_with_those_that_choose_or_check(trained):
    info = open_source(trained / "student").info
    manifest = Manifest.read(trained / "tones/manifest.csv")
    chosen = choose_clips(info, None, manifest, finetune=True, calibration_clips=6)
    parts = [set(part.manifest.groups) for part in (chosen.training, chosen.validation, chosen.check)]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert set(chosen.calibration.manifest.ids) < set(chosen.training.manifest.ids)
    assert len(set(chosen.training.manifest.ids)) == len(chosen.training) > 6 == len(chosen.calibration)
    one = manifest.select([row for row, group in enumerate(manifest.groups) if group.startswith("tones0")])
    with pytest.raises(DataError, match="--finetune needs clips of more groups"):
        choose_clips(info, manifest, one, finetune=True)


@pytest.mark.parametrize(
    "to, options, message",
    [
        ("onnx", {}, "--finetune is for --int8"),
        ("onnx", {"int8": True}, "--finetune learns from clips"),
        ("c", {"int8": True}, "--finetune learns from clips"),
        ("tflite", {"int8": True}, "--to tflite has no --finetune; use --to onnx or c"),
    ],
)
def test_misuse_is_refused(trained, tmp_path, to, options, message):
    with pytest.raises(ConfigError, match=message):
        export_artifact(trained / "student", tmp_path / f"s.{to}", to, finetune=True, **options)
    assert not list(tmp_path.iterdir())


def test_the_option_of_the_command(trained, tmp_path):
    from embcomp.cli.export import export

    words = [str(trained / "student"), "--to", "onnx", "--out", str(tmp_path / "s.onnx"), "--finetune"]
    with pytest.raises(ConfigError, match="--finetune is for --int8"):
        export.main(words, standalone_mode=False)
