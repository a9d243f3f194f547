"""ExecuTorch programs against the students they were made from."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from helpers.row_formats import check_inputs, check_lengths

import embcomp
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, MissingDependencyError
from embcomp.export.executorch import ExecutorchFormat
from embcomp.export.runtime import notes_of, open_model
from embcomp.export.writing import export_artifact


@pytest.fixture
def lowering():
    pytest.importorskip("executorch.exir", exc_type=ImportError, reason="executorch is not installed")


@pytest.mark.parametrize("kind", ["ds_cnn", "bc_resnet"])
def test_students_for_clips_of_any_length_up_to_the_window(lowering, tmp_path, kind):
    check_lengths(ExecutorchFormat(), tmp_path, kind)


def test_16_bit_samples_and_log_mels(lowering, tmp_path):
    check_inputs(ExecutorchFormat(), tmp_path)


def test_exported_with_a_report_and_labelled_with(lowering, trained, tmp_path):
    tones = Manifest.read(trained / "tones/manifest.csv")
    out = tmp_path / "student.pte"
    written = export_artifact(trained / "student", out, "executorch", check=tones)
    assert written.path == out and written.parity.agreement == 1 and written.parity.largest < 1e-4
    clip = tones.audio_path(0)
    expected, found = (embcomp.predict(model, clip) for model in (trained / "student", out))
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    # The runtime would end the process over some damaged programs.
    content = out.read_bytes()
    out.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactError, match="is not the file that student.pte.json describes"):
        open_model(out)
    out.write_bytes(content)
    notes = json.loads(notes_of(out).read_text())
    notes["model"]["fixed_samples"] = 100
    notes_of(out).write_text(json.dumps(notes))
    with pytest.raises(ArtifactError, match="its inputs are not those that student.pte.json names"):
        open_model(out)


def test_what_it_cannot_hold_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "executorch", None)
    for name in ExecutorchFormat.modules:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"needs executorch: pip install -e '.\[executorch\]'"):
        export_artifact(trained / "student", tmp_path / "student.pte", "executorch")
    for name in ("executorch", *ExecutorchFormat.modules):
        monkeypatch.setitem(sys.modules, name, sys)
    tones = Manifest.read(trained / "tones/manifest.csv")
    for arguments, message in [
        ((trained / "student", True), "--to executorch has no --int8; use --to onnx, tflite or c"),
        ((trained / "teacher", False), "takes a classifier, not a teacher; use --to onnx"),
    ]:
        with pytest.raises(ConfigError, match=message):
            export_artifact(
                arguments[0],
                tmp_path / "student.pte",
                "executorch",
                int8=arguments[1],
                calibrate=tones if arguments[1] else None,
            )
    assert not list(tmp_path.iterdir())


def test_a_program_without_its_runtime_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    (tmp_path / "student.pte").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match="student.pte needs executorch: pip install executorch"):
        open_model(tmp_path / "student.pte")
