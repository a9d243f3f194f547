"""Every benchmark runs, on a hundredth of its data."""

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.graphs import describe, onnx_matrix
from helpers.settings import student_settings
from helpers.tones import write_tones

from embcomp.config import AudioConfig
from embcomp.export.writing import export_artifact
from embcomp.students.classifier import Classifier

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def run_all():
    spec = importlib.util.spec_from_file_location("run_all", FOLDER / "run_all.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_all"] = module
    spec.loader.exec_module(module)
    return module


BENCHMARKS = run_all().BENCHMARKS
BY_HAND = {"interval_coverage", "teacher_overhead", "student_and_teacher"}
NOT_MEASURES = {"measure", "run_all", *BY_HAND}
SLOW = {
    "unlabelled.py",
    "engines.py",
    "processes.py",
    "growth.py",
    "plan.py",
    "startup.py",
    "compression_scaling.py",
    "compression_wide.py",
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_none_is_forgotten():
    assert {path.stem for path in FOLDER.glob("*.py")} - NOT_MEASURES == {Path(one.script).stem for one in BENCHMARKS}


def printed_by(script, arguments, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    try:
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    except SystemExit as ended:  # click's way to return
        assert not ended.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "benchmark",
    [
        pytest.param(one, id=one.script, marks=[pytest.mark.slow] * (one.script in SLOW))
        for one in BENCHMARKS
        if one.small is not None
    ],
)
def test_a_small_run_prints_a_table(benchmark, monkeypatch, capsys, tmp_path, threads):
    if benchmark.script == "compression_wide.py":
        pytest.importorskip("faiss", reason="needs faiss-cpu")
    printed = printed_by(benchmark.script, [*benchmark.small, "--folder", tmp_path], monkeypatch, capsys)
    assert "nan" not in printed
    assert sum(line.startswith("| ") for line in printed.splitlines()) >= 3 or "embcomp --help: " in printed


def tiny_teacher(folder):
    onnx_matrix(folder / "m.onnx", np.ones((16, 3)))
    describe(folder, 'sample_rate = 8000\n[[models]]\nfile = "m.onnx"\nwindow = 16\n')
    return f"onnx:{folder}"


def test_the_coverage_of_intervals_is_measured(monkeypatch, capsys):
    arguments = ["--sets", 2, "--groups", 5, "--truth", 50]
    lines = printed_by("interval_coverage.py", arguments, monkeypatch, capsys).splitlines()
    assert lines[0] == "| metric | 5 groups |" and lines[-1].startswith("| difference of balanced_accuracy | ")
    assert all(0 <= float(one.split("|")[2].split()[0]) <= 1 for one in lines[2:])


def test_the_share_of_the_runtime_in_a_teacher_is_measured(monkeypatch, capsys, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    manifest = write_tones(tmp_path / "tones", groups=2, clips=1, rate=8000)
    printed = printed_by("teacher_overhead.py", [tiny_teacher(tmp_path), manifest, 0.2], monkeypatch, capsys)
    share = re.search(r"([\d.]+)% inside the runtime, \d+ s of audio a second", printed)
    assert share and 0 < float(share[1]) < 100


@pytest.mark.slow
@pytest.mark.parametrize("script", ["long_recording.py", "student_and_teacher.py"])
def test_those_that_need_a_student_print_a_table(script, monkeypatch, capsys, tmp_path):
    if script == "long_recording.py":
        manifest = write_tones(tmp_path / "tones")
        arguments = [manifest, "--hours", 0.01, "--steps", 2, "--folder", tmp_path]
    else:
        pytest.importorskip("onnx")
        student = Classifier.new(["a", "b"], AudioConfig(n_mels=16), student_settings(width=8, embedding=8), False, 0)
        student.save(tmp_path / "student")
        export_artifact(tmp_path / "student", tmp_path / "student.onnx", "onnx")
        arguments = [tiny_teacher(tmp_path), tmp_path / "student.onnx", "--repeats", 1]
    printed = printed_by(script, arguments, monkeypatch, capsys)
    assert sum(line.startswith("| ") for line in printed.splitlines()) >= 2


def test_what_cannot_run_is_said_and_nothing_else_lost(tmp_path, monkeypatch):
    module = run_all()
    (tmp_path / "fails.py").write_text("raise ValueError('no such thing')")
    (tmp_path / "prints.py").write_text("print('| a | b |')")
    chosen = (
        module.Benchmark("One", "fails.py"),
        module.Benchmark("Two", "prints.py", ("x",)),
        module.Benchmark("Three", "prints.py", needs=(tmp_path / "data/none.csv",)),
    )
    monkeypatch.setattr(module, "BENCHMARKS", chosen)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--out", str(tmp_path / "RESULTS.md")])
    module.main()
    text = (tmp_path / "RESULTS.md").read_text()
    assert "## One" in text and "Left out: ValueError: no such thing" in text
    assert "`python benchmarks/prints.py x`" in text and "| a | b |" in text
    assert "Left out: data/none.csv is not there." in text and str(tmp_path) not in text


def test_a_wrong_name_is_refused():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run_all.py"), "--only", "front"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "no benchmark front" in done.stderr and "front_end" in done.stderr
