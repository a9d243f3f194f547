"""The notebooks run from top to bottom, show something, and are stored without output."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A surrounding in which a kernel finds this package, and none of the user's files or settings."""
    monkeypatch.setenv("EMBCOMP_SEEDS", "2")  # of active learning, for time
    for name in ("EMBCOMP_DATA", "EMBCOMP_STORE", "EMBCOMP_RUN", "EMBCOMP_RECIPES", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["00", "01", "02", "03", "04", "05", "06"]


@by_name
def test_stored_without_output(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["cells"][0]["cell_type"] == "markdown" and notebook["cells"][0]["source"][0].startswith("# ")
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@by_name
def test_runs_and_shows_a_figure_and_a_table(path, kernel):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel: pip install -e '.[nb]'")
    pytest.importorskip("ipykernel", reason="needs ipykernel: pip install -e '.[nb]'")
    import nbformat

    if "onnx" in path.read_text(encoding="utf-8"):
        for package in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(package, reason="needs onnx: pip install -e '.[onnx]'")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=600, startup_timeout=240, resources={"metadata": {"path": str(kernel)}}
    )
    client.execute()  # raises where a cell does
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= shown
    assert not [output for output in outputs if output.get("name") == "stderr"]


def execute(path: Path) -> dict:
    """The names that a notebook's code defines, run in this process without pictures."""
    import matplotlib

    matplotlib.use("Agg")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "code" for line in [*cell["source"], "\n"]]
    names: dict = {}
    exec(compile("".join(line for line in lines if not line.startswith("%")), path.name, "exec"), names)
    return names


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """Scores in which a compressed embedding is always 0.1 better than none, and 0.05 more when adapted."""
    rows = []
    for train, test in np.ndindex(2, 3):
        for setting in ["in-domain"] if train == test else ["cross-dataset", "adapted"]:
            for method, gain in (("none", 0.0), ("embedding", 0.02), ("compressed", 0.1), ("probe", -0.1)):
                for seed in (0, 1, 2, "all"):
                    value = 0.5 + gain + 0.05 * (setting == "adapted") + (0.01 * seed if seed != "all" else 0)
                    about = {
                        "method": method,
                        "variant": f"by {method}",
                        "compressor": None,
                        "seed": seed,
                        "setting": setting,
                    }
                    about |= {
                        "train_dataset": f"set{train}",
                        "test_dataset": f"set{test}",
                        "metric": "balanced_accuracy",
                    }
                    rows.append({**about, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 10})
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    monkeypatch.setenv("EMBCOMP_RUN", str(tmp_path))
    return tmp_path


def test_cross_dataset_reads_a_run_of_your_own(run_folder):
    found = execute(NOTEBOOKS[2])
    assert found["matrix"].shape == (2, 3) and found["matrix"].notna().all().all()
    assert len(found["pairs"]) == 4 * 4 and np.allclose(found["pairs"]["drop"], 0)
    assert np.allclose(found["compared"]["recovered"], 0.05)


def test_cross_dataset_says_when_there_is_none(run_folder):
    table = pd.read_csv(run_folder / "scores.csv")
    table[table["setting"] == "in-domain"].to_csv(run_folder / "scores.csv", index=False)
    with pytest.raises(ValueError, match="no score on a further data set"):
        execute(NOTEBOOKS[2])


def test_claims_are_judged_by_the_scores(run_folder):
    measured = execute(NOTEBOOKS[4])["measured"].set_index("claim")["difference"]
    assert np.allclose(measured["a compressed embedding helps at all"], 0.1)
    assert np.allclose(measured["a compressed embedding is a better target than a raw one"], 0.08)
    assert len(measured["an embedding as a target helps at all"]) == 6
