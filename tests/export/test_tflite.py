"""LiteRT files against the students they were made from."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from helpers.row_formats import check_inputs, check_lengths

from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, MissingDependencyError
from embcomp.export.runtime import open_model
from embcomp.export.source import open_source
from embcomp.export.tflite import TfliteFormat
from embcomp.export.writing import export_artifact
from embcomp.storage.files import write_json
from embcomp.students import STUDENTS


@pytest.fixture
def converter():
    pytest.importorskip("litert_torch", exc_type=ImportError)
    pytest.importorskip("onnxscript")


@pytest.mark.parametrize("kind", [one.name for one in STUDENTS if "audio" in one.takes])
def test_students_for_clips_of_any_length_up_to_the_window(converter, tmp_path, kind):
    check_lengths(TfliteFormat(), tmp_path, kind)


def test_16_bit_samples_and_log_mels(converter, tmp_path):
    check_inputs(TfliteFormat(), tmp_path)


def test_exported_in_float_and_in_8_bits(converter, trained, tmp_path):
    tones = Manifest.read(trained / "tones/manifest.csv")
    out = tmp_path / "student.tflite"
    written = export_artifact(trained / "student", out, "tflite", check=tones)
    assert written.path == out and written.parity.agreement == 1 and written.parity.largest < 1e-4
    content = out.read_bytes()
    assert b"embcomp" not in content and b"site-packages" not in content  # no names of modules or of files
    written = export_artifact(
        trained / "student", tmp_path / "int8.tflite", "tflite", int8=True, calibrate=tones, calibration_clips=12
    )
    assert written.info.precision == "int8" and written.info.float_layers[:2] == ("Conv2d_stem", "Linear_classify")
    assert written.parity.agreement >= 0.95 and written.parity.largest < 0.1
    kinds = [one["dtype"] for one in open_model(written.path).interpreter.get_tensor_details()]
    assert kinds.count(np.int8) > 20


def test_a_file_without_its_notes_or_with_those_of_another_is_refused(converter, trained, tmp_path):
    export_artifact(trained / "student", tmp_path / "student.tflite", "tflite")
    notes = json.loads((tmp_path / "student.tflite.json").read_text())
    notes["model"]["fixed_samples"] = 100
    (tmp_path / "student.tflite.json").write_text(json.dumps(notes))
    with pytest.raises(ArtifactError, match="its inputs are not those that student.tflite.json names"):
        open_model(tmp_path / "student.tflite")
    (tmp_path / "student.tflite.json").unlink()
    with pytest.raises(ArtifactError, match="cannot read .*student.tflite.json"):
        open_model(tmp_path / "student.tflite")


def test_what_is_no_litert_file_is_refused(trained, tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "text.tflite").write_text("hello")
    write_json(tmp_path / "text.tflite.json", {"model": open_source(trained / "student").info.to_dict()})
    with pytest.raises(ArtifactError, match="not readable as LiteRT"):
        open_model(tmp_path / "text.tflite")


def test_only_students_and_missing_packages(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(MissingDependencyError, match=r"needs litert_torch: pip install -e '.\[litert\]'"):
        export_artifact(trained / "student", tmp_path / "student.tflite", "tflite")
    for name in TfliteFormat.modules:
        monkeypatch.setitem(sys.modules, name, sys)
    with pytest.raises(ConfigError, match="takes a classifier, not a teacher; use --to onnx"):
        export_artifact(trained / "teacher", tmp_path / "teacher.tflite", "tflite")
