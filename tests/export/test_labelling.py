"""A file that was exported labels audio as the student does, where little is installed, in little time and memory."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.command import ROOT

import embcomp
from embcomp.cli.predict import predict
from embcomp.errors import ArtifactError, ConfigError
from embcomp.export.labelling import ExportedLabeller, open_labeller
from embcomp.export.runtime import open_model
from embcomp.export.source import ExportOptions
from embcomp.export.writing import export_artifact

# What an environment for a model exported to ONNX does without.
ABSENT = ("torch", "pandas", "sklearn", "scipy", "librosa", "safetensors", "tqdm", "threadpoolctl", "onnx")
NEEDED = {"numpy", "soundfile", "soxr", "click", "onnxruntime"}


@pytest.fixture(scope="module")
def models(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_artifact(trained / "student", folder / "s.onnx", "onnx")
    export_artifact(trained / "student", folder / "logmel.onnx", "onnx", options=ExportOptions(input="logmel"))
    export_artifact(trained / "teacher", folder / "teacher.onnx", "onnx")
    return folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / "long.wav"
    times = np.arange(33_075) / 22_050
    soundfile.write(path, np.sin(2000 * times**2) * times / 3, 22_050)
    return path


def without(*arguments, given: bytes = b"") -> subprocess.CompletedProcess:
    """The command in a process where nothing but what is needed imports; it ends by printing what was loaded."""
    code = f"""
import sys
for name in {ABSENT}: sys.modules[name] = None
from embcomp.cli import main
sys.argv[1:] = {[str(part) for part in arguments]}
main()
"""
    return subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, cwd=ROOT, timeout=60, check=False
    )


def test_it_labels_as_the_student_does(trained, models, recording):
    files = [*sorted((trained / "tones/audio").iterdir())[::5], recording]
    for options in ({}, {"window": 0.3, "hop": 0.1}):
        expected, found = (
            embcomp.predict(model, files, **options) for model in (trained / "student", models / "s.onnx")
        )
        assert found.places == expected.places and found.labels == expected.labels and found.cut == expected.cut
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    windows = list(embcomp.predict_windows(models / "s.onnx", recording, window=0.4))
    assert [one.start for one in windows] == [0.0, 0.4, 0.8, 1.2]


@pytest.mark.parametrize("form", ["table", "csv", "json", "raven", "audacity"])
def test_every_form_of_output_where_little_is_installed(trained, models, recording, capfd, form):
    options = [recording, "--window", 0.4, "--format", form]
    done = without("predict", models / "s.onnx", *options)
    assert done.returncode == 0, done.stderr.decode()
    predict.main([str(part) for part in (trained / "student", *options)], standalone_mode=False)
    expected = capfd.readouterr().out
    if form in ("csv", "json"):  # more digits than two runtimes agree on
        read = {"csv": lambda text: list(csv.DictReader(io.StringIO(text))), "json": json.loads}[form]
        rows = [read(text) for text in (done.stdout.decode(), expected)]
        assert [row["label"] for row in rows[0]] == [row["label"] for row in rows[1]]
        assert [list(row) for row in rows[0]] == [list(row) for row in rows[1]]
        for a, b in zip(*rows):
            assert float(a["probability"]) == pytest.approx(float(b["probability"]), abs=1e-4)
    elif form == "table":
        assert [line.split()[:3] for line in done.stdout.decode().splitlines()] == [
            line.split()[:3] for line in expected.splitlines()
        ]
    else:
        assert len(done.stdout.decode().splitlines()) == len(expected.splitlines())


def test_standard_input(models, recording):
    done = without(
        "predict", models / "s.onnx", "-", "--window", "0.4", "--format", "csv", given=recording.read_bytes()
    )
    assert done.returncode == 0, done.stderr.decode()
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [row["path"] for row in rows] == ["-"] * 4
    expected = embcomp.predict(models / "s.onnx", recording, window=0.4)
    assert [row["label"] for row in rows] == expected.labels
    wrong = without("predict", models / "s.onnx", "-", given=b"no sound")
    assert wrong.returncode == 2 and b"-: not readable as audio" in wrong.stderr and b"Traceback" not in wrong.stderr
    empty = without("predict", models / "s.onnx", "-")
    assert empty.returncode == 2 and b"-: the file is empty" in empty.stderr


@pytest.mark.parametrize("command", ["predict", "serve"])
def test_the_folder_of_a_student_says_that_it_needs_torch(trained, recording, command):
    done = without(command, trained / "student", *([recording] if command == "predict" else []))
    assert done.returncode == 2 and b"which needs torch" in done.stderr and b"--to onnx" in done.stderr
    assert b"Traceback" not in done.stderr


def test_one_prediction_is_quick_and_small(models, recording):
    """Modules rather than seconds are asserted, as the machine may be busy."""
    code = f"""
import pathlib, sys
from embcomp.cli import main
sys.argv[1:] = ["predict", {str(models / "s.onnx")!r}, {str(recording)!r}]
try:
    main()
finally:
    print(sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
    about = pathlib.Path("/proc/self/status")  # getrusage would count the process that started this one
    print(about.read_text().split("VmHWM:")[1].split()[0] if about.exists() else 0, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    loaded, memory = done.stderr.strip().splitlines()[-2:]
    assert not set(eval(loaded)) & set(ABSENT) and set(eval(loaded)) >= NEEDED
    assert float(memory) < 120 * 1024  # kB


def test_the_file_states_the_threshold_and_the_classes(models):
    model = open_model(models / "s.onnx")
    assert open_labeller(models / "s.onnx").classes == ("high", "low", "mid")
    model.info = replace(model.info, multi_label=True, threshold=0.7)
    several = ExportedLabeller(model)
    rows = np.array([[0.75, 0.6, 0.1], [0.2, 0.1, 0.05]])
    assert several.labels(rows) == ["high", ""] and several.labels(rows, 0.5) == ["high|low", ""]


def test_misuse_has_a_message(models, recording, tmp_path):
    for name, message in (
        ("logmel.onnx", "takes log-mels, not audio; .*--input waveform"),
        ("teacher.onnx", "an exported teacher, which gives no labels"),
        ("none.onnx", "cannot read .*none.onnx"),
    ):
        with pytest.raises(ArtifactError, match=message):
            embcomp.predict(models / name, recording)
    (tmp_path / "a.onnx").write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match="not readable as ONNX"):
        embcomp.predict(tmp_path / "a.onnx", recording)
    with pytest.raises(ArtifactError, match="is no exported model"):
        embcomp.predict(recording, recording)
    with pytest.raises(ConfigError, match="--variant chooses a student of a run"):
        predict.main([str(models / "s.onnx"), str(recording), "--variant", "x"], standalone_mode=False)
    model = open_model(models / "s.onnx")
    model.info = replace(model.info, audio={"channel": "middle"})
    with pytest.raises(ArtifactError, match="metadata are damaged"):
        ExportedLabeller(model)
