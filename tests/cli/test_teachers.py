from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.command import answered
from helpers.graphs import describe, onnx_frames, tflite_matrix

from embcomp.cli.teachers import teachers

TEXT = 'sample_rate = 8000\n[[models]]\nfile = "frames.onnx"\nwindow = 800\ntail = "pad"\ntime = 2\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def frames(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    onnx_frames(tmp_path / "m/frames.onnx", 4)
    return describe(tmp_path / "m", TEXT)


def run(*arguments):
    done = CliRunner().invoke(teachers, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_list_says_what_can_run_and_what_can_be_fetched(monkeypatch):
    from embcomp.teachers import OnnxTeacher

    monkeypatch.setattr(OnnxTeacher, "missing", classmethod(lambda cls: "it is missing: pip install it"))
    text = run()
    assert "kmeans" in text and "store:PATH" in text
    assert "not available here: it is missing: pip install it" in text
    assert re.search(r"google-speech-embedding +16.7 +16000 +192 +speech; labels: .* wheel", text)
    found = json.loads(run("--json"))
    assert {one["name"]: one["here"] for one in found["teachers"]}["onnx"] is False
    assert {one["name"]: one["licence"] for one in found["catalogue"]}["lyra-soundstream"] == "Apache-2.0"


def test_check_prints_shape_rate_and_speed(frames):
    text = run("check", f"onnx:{frames}", "--set", "teacher.frames=2")
    assert "4 clips, shape (4, 8) (2 vectors of 4 per clip)" in text
    assert "decoded at 8000 Hz" in text and "s of audio per second with 1 thread" in text


def test_check_notes_what_breaks_the_contract():
    from embcomp.teachers import Teacher
    from embcomp.teachers.checking import check

    class Same(Teacher):
        name, sample_rate, dim = "same", 8000, 1

        def __init__(self):
            self.calls = 0

        def embed(self, waveforms, lengths):
            self.calls += 1
            return np.full((len(lengths), 1), waveforms.shape[1] + self.calls * 9000.0)

    remarks = " ".join(check(Same()).remarks)
    for word in ("not deterministic", "zeros behind its end", "a tone and noise got the same"):
        assert word in remarks


def test_bad_specs_end_in_one_line(tmp_path):
    for arguments, message in (
        (("teachers", "check", "store:x.npy"), "stored vectors cannot be checked"),
        (("teachers", "check", "kmeans"), "has to be learned from clips first"),
        (("teachers", "check", f"onnx:{tmp_path}/no.onnx"), "no model at"),
        (("teachers", "fetch", "yamnt"), "did you mean 'yamnet'"),
    ):
        done = answered(*arguments)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_described_draft_is_a_description(tmp_path, rng):
    from embcomp.teachers.describe import parse_description

    pytest.importorskip("onnxruntime")
    onnx_frames(tmp_path / "frames.onnx", 4)
    found = parse_description(run("describe", tmp_path / "frames.onnx"), "draft", tmp_path)
    assert found.models[0].input == "input" and found.models[0].output == "output"
    pytest.importorskip("ai_edge_litert")
    tflite_matrix(tmp_path / "m.tflite", rng.normal(size=(12, 5)))
    found = parse_description(run("describe", tmp_path / "m.tflite"), "draft", tmp_path)
    assert (found.models[0].window, found.models[0].hop) == (12, 6)
    assert len(found.models[0].sha256) == 64


def test_a_draft_names_further_inputs(tmp_path, rng):
    pytest.importorskip("onnxruntime")
    from helpers.graphs import onnx_running_sum

    text = run("describe", onnx_running_sum(tmp_path / "sum.onnx", 4))
    assert "constants.gain = 0" in text and "constants.state = 0" in text
