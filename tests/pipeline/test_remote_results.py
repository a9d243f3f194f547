"""Matrices, sweeps, tunings and joined stores at a URL: the bytes of those here, gone on with by another machine."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest
from helpers.killing import contents as contents_here
from helpers.remotes import contents, fresh_cache
from helpers.runs import tiny
from helpers.tones import write_tones

import embcomp
from embcomp.cli import group
from embcomp.config import parse, to_toml
from embcomp.errors import StoreError
from embcomp.pipeline import matrix as matrices
from embcomp.pipeline.matrix import matrix
from embcomp.pipeline.tune import tune
from embcomp.storage.store import EmbeddingStore, write_store

QUICK = {"steps": 2, "evaluate_every": 1, "batch_size": 8, "freq_mask": 2}


@pytest.fixture
def url(tmp_path, monkeypatch) -> str:
    fresh_cache(tmp_path / "first", monkeypatch)
    return f"memory://{uuid.uuid4().hex}/out"


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for number, name in enumerate(("home", "abroad")):
        write_tones(root / name, groups=4, clips=1, name=name, seed=number)
    return root


@pytest.fixture(scope="module")
def store(sets) -> Path:
    ids = embcomp.Manifest.read(sets / "home/manifest.csv").ids
    rows = np.random.default_rng(0).normal(size=(len(ids), 6)).astype(np.float32)
    return write_store(sets / "store", ids, [f"h{row}" for row in range(len(ids))], 6, {}, lambda n: rows[n]).path


def settings(root: Path, **sections):
    quick = {"training": QUICK, "evaluation": {"bootstrap": 2, "probe": False, "reestimate": False}}
    split = {"by": "column", "test": ["test"], "validation": 0.5}
    return parse(tiny(root, seeds=[0], split=split, **quick, **sections))


def test_a_matrix_goes_on_on_another_machine(sets, url, tmp_path, monkeypatch):
    variants = [{"name": "no teacher", "transfer": {"method": "none"}}]
    config = settings(sets, variants=variants, data={"cross": []})
    manifests = [sets / name / "manifest.csv" for name in ("home", "abroad")]
    real, made = matrices.run, []

    def counting(*given, **options):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(real(*given, **options))
        return made[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(matrices, "run", counting)
        matrix(config, manifests, url)
    assert "home/scores.csv" in contents(url) and "matrix.csv" not in contents(url)
    fresh_cache(tmp_path / "second", monkeypatch)
    with monkeypatch.context() as patch:
        made.clear()
        patch.setattr(matrices, "run", lambda *given: made.append(real(*given)) or made[-1])
        matrix(config, manifests, url)
    assert [one.made == 0 for one in made] == [True, False]
    matrix(config, manifests, tmp_path / "here")
    assert contents(url)["matrix.csv"] == (tmp_path / "here/matrix.csv").read_bytes()
    there, mine = (  # the keys of stages hold how the manifests name their clips
        sorted(name for name in found if "/stages/" not in name)
        for found in (contents(url), contents_here(tmp_path / "here"))
    )
    assert there == mine


def test_a_tuning_goes_on_on_another_machine(sets, url, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    (tmp_path / "config.toml").write_text(
        to_toml(settings(sets, variants=[{"name": "compressed"}], compressor={"dim": 1}))
    )
    search = ["transfer.weight=0.1..1"]
    first = tune(tmp_path / "config.toml", url, search, trials=1).trials
    assert {"study.jsonl", "trials.csv", "tuned.toml"} <= set(contents(url))
    fresh_cache(tmp_path / "second", monkeypatch)
    both = tune(tmp_path / "config.toml", url, search, trials=2).trials
    assert len(both) == 2 and both.loc[0].to_dict() == first.loc[0].to_dict()
    assert contents(url)["trials.csv"].count(b"\n") == 3


def test_commands_write_stores_and_sweeps_to_urls(sets, store, url, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")

    def call(*arguments):
        group([str(one) for one in arguments], standalone_mode=False)
        return capsys.readouterr().out

    assert f"{url}/table.parquet" in call("store", "export", store, "--out", f"{url}/table.parquet")
    assert f"{url}/imported" in call("store", "import", f"{url}/table.parquet", "--out", f"{url}/imported")
    with pytest.raises(StoreError, match=f"{url}/joined is read by other machines.*join with --copy"):
        call("store", "merge", store, "--out", f"{url}/joined")
    call("store", "merge", store, "--copy", "--out", f"{url}/joined")
    swept = ["sweep", store, "--manifest", sets / "home/manifest.csv", "--dims", 2, "--folds", 2, "--methods", "pca"]
    call(*swept, "--out", f"{url}/sweep")
    call(*swept, "--out", tmp_path / "sweep")
    assert contents(f"{url}/sweep")["curve.csv"] == (tmp_path / "sweep/curve.csv").read_bytes()
    assert sorted(contents(f"{url}/sweep")) == sorted(contents_here(tmp_path / "sweep"))
    assert not [name for name, content in contents(url).items() if b"/first/files/" in content or "/." in f"/{name}"]
    shutil.rmtree(tmp_path / "first")
    fresh_cache(tmp_path / "second", monkeypatch)
    expected = EmbeddingStore.open(store)
    for name in ("imported", "joined"):
        there = EmbeddingStore.open(embcomp.storage.bringing.brought(f"{url}/{name}"))
        assert list(there.ids) == list(expected.ids) and np.array_equal(np.asarray(there.data[:]), expected.data)
