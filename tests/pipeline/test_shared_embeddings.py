"""The embeddings of a run, where fewer teachers than workers make them: all workers embed each set."""

from __future__ import annotations

import shutil

import pytest
from helpers.killing import contents
from helpers.own_teachers import LEVELS
from helpers.runs import tiny
from helpers.spread_engine import SpreadEngine
from helpers.tones import write_tones

import embcomp
from embcomp.config import parse
from embcomp.pipeline import runner

CHANGING = ("config.toml", "environment.json", "report.html", "report.md", "result.json", "metrics.json")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    (folder / "own.py").write_text(LEVELS)
    write_tones(folder / "home", groups=4, clips=10, name="home")
    write_tones(folder / "abroad", groups=2, clips=2, name="abroad", seed=5)
    return folder


@pytest.mark.parametrize("learns", [False, True])
def test_a_run_has_the_same_bytes_however_many_workers_share_its_embeddings(root, tmp_path, monkeypatch, learns):
    teacher = {"spec": "kmeans"} if learns else {"spec": f"python:{root / 'own.py'}:Levels"}
    # One fold has one teacher; a teacher that is learned in each of two folds is the job of one worker each.
    split = {"by": "column", "test": ["test"]}
    asked = tiny(root, seeds=[0], teacher=teacher, split=split, data={"cross": []}, compressor={"dim": 1})
    asked["variants"] = [{"name": "compressed", "compressor": {"method": "pca"}}]
    engine = SpreadEngine(3)
    embcomp.run(parse(asked), tmp_path / "one")
    monkeypatch.setattr(runner, "open_engine", lambda name, workers, threads: engine)
    embcomp.run(parse(asked), tmp_path / "shared")
    assert sum(engine.sizes) == 80 and len(engine.sizes) == 2
    assert contents(tmp_path / "shared", CHANGING) == contents(tmp_path / "one", CHANGING)


def test_teachers_that_are_learned_fold_by_fold_are_learned_side_by_side(root, tmp_path, monkeypatch):
    asked = tiny(root, seeds=[0], data={"cross": []})
    asked["variants"] = [{"name": "compressed"}]
    engine = SpreadEngine(3)
    monkeypatch.setattr(runner, "open_engine", lambda name, workers, threads: engine)
    embcomp.run(parse(asked), tmp_path / "run")
    assert engine.sizes == []


def test_a_teacher_reads_the_students_log_mels_where_they_are_its_own(root, tmp_path, monkeypatch):
    """Nothing is decoded to embed, and the stores have the bytes that decoding gives."""
    same = {"win_length": 400, "hop_length": 160, "n_mels": 64}
    asked = tiny(root, seeds=[0], audio=same, split={"by": "column", "test": ["test"]}, data={"cross": []})
    asked["variants"] = [{"name": "compressed", "compressor": {"method": "pca", "dim": 1}}]
    asked["training"]["freq_mask"] = 2
    embcomp.run(parse(asked), tmp_path / "read")
    monkeypatch.setattr("embcomp.pipeline.stages.embeddings._logmels_for", lambda *anything: None)
    embcomp.run(parse(asked), tmp_path / "decoded")
    assert contents(tmp_path / "read", CHANGING) == contents(tmp_path / "decoded", CHANGING)
    monkeypatch.undo()
    embeddings = next((tmp_path / "read" / "stages" / "embeddings").iterdir())
    shutil.rmtree(embeddings)
    monkeypatch.setattr("embcomp.audio.clips.decode", lambda *anything, **options: pytest.fail("a clip was decoded"))
    embcomp.run(parse(asked), tmp_path / "read")
