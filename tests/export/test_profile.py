"""Profiles: what is measured, of what, and what is said where a runtime is missing."""

from __future__ import annotations

import csv
import io
import math
import sys

import pytest

from embcomp.cli.profile import profile as command
from embcomp.errors import ArtifactError, ConfigError
from embcomp.export import profile as module
from embcomp.export.profile import ProfileRow, as_csv, as_table, profile
from embcomp.export.source import ExportOptions, open_source
from embcomp.export.writing import export_artifact
from embcomp.students.classifier import Classifier
from embcomp.students.cost import student_cost

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_artifact(trained / "student", folder / "student.onnx", "onnx", options=ExportOptions(samples="int16"))
    export_artifact(trained / "student", folder / "logmel.onnx", "onnx", options=ExportOptions(input="logmel"))
    return folder


def test_students_in_several_runtimes_and_files_in_their_own(trained, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    rows = profile(
        [trained / "student", exported / "student.onnx"], runtimes=["eager", "onnx", "onnx-int8", "tflite"], repeats=2
    )
    assert [(row.runtime, row.input) for row in rows] == [
        ("eager", "logmel"), ("onnx", "logmel"), ("onnx-int8", "logmel"), ("tflite", ""), ("onnx", "waveform")
    ]  # fmt: skip
    cost = student_cost(Classifier.load(trained / "student"))
    for row in rows:
        if row.runtime == "tflite":
            assert "needs litert_torch" in row.note and math.isnan(row.ms_1)
            continue
        assert (row.parameters, row.macs) == (cost.parameters, cost.macs) and row.bytes > 10_000
        assert 0 < row.ms_1 <= row.p95_1 and 0 < row.ms_64 <= row.p95_64 and row.times_real_time > 1
    # The network alone, 64 clips at once, takes less than the front end and the network do.
    assert rows[1].ms_64 < rows[4].ms_64


def test_the_times_are_those_of_the_input_that_is_named(trained):
    shapes = []
    candidate = module._Candidate(
        "a",
        "b",
        "logmel",
        open_source(trained / "student").info,
        0,
        lambda given: shapes.append(given.shape),
        shapes.append,
    )
    module._measure([candidate], "batch 64", 3, lambda one: module._input(one.info, one.input, 64))
    assert shapes == [(64, 24, 21)] * (module.WARM_UP + 3) and len(candidate.times["batch 64"]) == 3


def test_slow_models_are_measured_less_often(trained, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.0)
    candidate = module._Candidate(
        "a", "b", "logmel", open_source(trained / "student").info, 0, lambda given: None, None
    )
    module._measure([candidate], "batch 1", 100, lambda one: module._input(one.info, one.input, 1))
    assert len(candidate.times["batch 1"]) == module.WARM_UP


def test_misuse(trained, exported):
    with pytest.raises(ConfigError, match="did you mean 'onnx'"):
        profile([trained / "student"], runtimes=["onx"])
    with pytest.raises(ArtifactError, match="holds a teacher; profile takes students"):
        profile([trained / "teacher"])
    with pytest.raises(ArtifactError, match="takes logmels; profile files exported with --input waveform"):
        profile([exported / "logmel.onnx"])
    with pytest.raises(ConfigError, match="must be 1 or more"):
        profile([trained / "student"], repeats=0)


def test_a_compiler_that_is_missing_is_a_note(trained, monkeypatch):
    def broken(*args, **options):
        def raises(*inputs):
            raise RuntimeError("no C++ compiler\nlong story")

        return raises

    monkeypatch.setattr(module.torch, "compile", broken)
    (row,) = profile([trained / "student"], runtimes=["compiled"])
    assert row.note == "torch.compile does not work here: no C++ compiler"


def test_tables():
    rows = [
        ProfileRow("student", "eager", "logmel", 61_606, 7_200_000, 262_000, 0.765, 0.81, 32.4, 50.1, 1221.0),
        ProfileRow("student", "tflite", note="not here"),
    ]
    lines = as_table(rows).splitlines()
    assert lines[1].split() == ["student", "eager", "logmel", "61,606", "7.2", "262", "0.765", "0.81", "32.4", "50.1", "1,221"]  # fmt: skip
    assert lines[0].endswith("x real time") and lines[2].split() == ["student", "tflite", "-", "not", "here"]
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert read[0]["ms_64"] == "32.4" and read[1]["ms_1"] == "nan" and read[1]["note"] == "not here"


def test_the_command(trained, tmp_path, capsys):
    arguments = [str(trained / "student"), "--runtime", "eager", "--repeats", "1", "--out", str(tmp_path / "p.csv")]
    command.main(arguments, standalone_mode=False)
    assert "eager" in capsys.readouterr().out and (tmp_path / "p.csv").read_text().startswith("model,runtime")
    (tmp_path / "p.csv").write_text("path,label\nmine.wav,dog\n")
    with pytest.raises(ArtifactError, match=r"p\.csv is there already and is no table of `embcomp profile`"):
        command.main(arguments, standalone_mode=False)
    assert (tmp_path / "p.csv").read_text().startswith("path,label")
