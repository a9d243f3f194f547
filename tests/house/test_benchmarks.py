"""Every benchmark runs, on a hundredth of its data."""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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
    folder = ["--folder", str(tmp_path)]
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [benchmark.script, *benchmark.small, *folder])
    runpy.run_path(str(FOLDER / benchmark.script), run_name="__main__")
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert sum(line.startswith("| ") for line in printed.splitlines()) >= 3 or "embcomp --help: " in printed


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
