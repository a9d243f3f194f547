"""Compressors fitted by several workers: the bytes of one process, whatever the order, whoever dies."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
from helpers import jobs
from helpers.killing import contents
from helpers.spread_engine import SpreadEngine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import embcomp
from embcomp.compression import Compressor, spread, tree
from embcomp.compression.sharded import compress_shard
from embcomp.compression.spread_rows import compress_rows
from embcomp.config import CompressorConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, BusyError, ConfigError, DataError, EmbcompError, StoreError
from embcomp.storage.arrays import WriterLock
from embcomp.storage.merging import merge_stores
from embcomp.storage.store import EmbeddingStore, write_store

ROWS, WIDTH = 1000, 6


@pytest.fixture
def small_leaves(monkeypatch):
    monkeypatch.setattr(tree, "LEAF", 32)
    monkeypatch.setattr("embcomp.storage.store.HELD", 0)  # rows that are chosen stay on disk


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two stores, both of them as one in shards, the same rows in one, and a manifest of most of them in another order."""
    folder, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    labels = rng.integers(0, 3, ROWS)
    rows = (rng.normal(size=(ROWS, WIDTH)) * np.arange(1, WIDTH + 1) + 3 * labels[:, None]).astype(np.float32)
    names = [f"{number}.wav" for number in range(ROWS)]

    def store(name, start, stop):
        part = names[start:stop]
        return write_store(
            folder / name, part, part, WIDTH, {"teacher": "t"}, lambda n: rows[start + n], dtype="float16"
        ).path

    merge_stores([store("a", 0, 400), store("b", 400, ROWS)], folder / "shards")
    store("one", 0, ROWS)
    order = rng.permutation(ROWS)[:900]
    lines = [f"{names[row]},{'abc'[labels[row]] if number % 7 else ''}" for number, row in enumerate(order)]
    (folder / "manifest.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return folder


def fitted(stores, out, monkeypatch, engine=None, store="shards", config=None, **options):
    engine = engine or SpreadEngine()
    monkeypatch.setattr(spread, "open_engine", lambda name, workers, threads: engine)
    config = config or CompressorConfig("pca", "reconstruction", 3)
    return embcomp.compress(stores / store, out, config=config, **options)


@pytest.mark.parametrize("method", ["pca", "random", "identity", "linear", "lda"])
@pytest.mark.parametrize("store", ["shards", "one"])
def test_the_bytes_are_those_of_one_process_with_any_number_of_workers(
    stores, small_leaves, tmp_path, monkeypatch, method, store
):
    config = CompressorConfig(method, "reconstruction", 2)
    options = {"manifest": Manifest.read(stores / "manifest.csv")} if method in ("lda", "pca") else {}
    expected = fitted(stores, tmp_path / "serial", monkeypatch, config=config, store="one", **options)
    for workers in (1, 2, 7):
        out, engine = tmp_path / f"{workers}", SpreadEngine(workers, seed=workers, twice=True)
        found = fitted(stores, out, monkeypatch, engine, store, config, workers=workers, **options)
        assert len(engine.gpus) == 1, "the rows are summed here"
        assert contents(out) == contents(tmp_path / "serial")
        assert found.n_samples_ == expected.n_samples_ and found.classes_ == expected.classes_
        assert found.seen(["1.wav", "other.wav"]) == expected.seen(["1.wav", "other.wav"])
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "7", "serial"]


def test_principal_components_and_discriminants_are_those_of_scikit_learn(stores, small_leaves, tmp_path, monkeypatch):
    store = EmbeddingStore.open(stores / "one")
    X = np.asarray(store.data, float)
    ours = fitted(stores, tmp_path / "pca", monkeypatch, workers=3).transform(X)
    theirs = PCA(3).fit_transform(X)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)
    y = np.random.default_rng(1).integers(0, 4, ROWS)
    X[:, :2] += y[:, None] * [1, -0.5]
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    monkeypatch.setattr(spread, "open_engine", lambda name, workers, threads: SpreadEngine(3))
    model = Compressor(2, method="lda", shrinkage=0.0)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    ours = spread.fit_spread(model, rows, y, None, tmp_path / "lda", workers=3).transform(X)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(X, y).transform(X)[:, :2]
    for one, other in zip(ours.T, theirs.T, strict=True):
        assert abs(np.corrcoef(one, other)[0, 1]) > 1 - 1e-5


class Order:
    """Moments that keep in which order they were added."""

    def __init__(self, order):
        self.order = order

    def merge(self, other):
        return Order((self.order, other.order))


@pytest.mark.parametrize("most", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 13, 64])
def test_branches_are_nodes_of_one_tree(count, most):
    """Whoever adds up which branches: the order of all additions is the same."""

    def leaf(number):
        return [Order(number)]

    cut = tree.branches(0, count, most)
    assert [number for start, stop in cut for number in range(start, stop)] == list(range(count))
    given = {one: tree.added(*one, leaf) for one in cut}
    (found,) = tree.added(0, count, lambda number: pytest.fail("a leaf again"), lambda *one: given.get(one))
    (whole,) = tree.added(0, count, leaf)
    assert found.order == whole.order


def test_an_interrupted_call_goes_on_from_its_sums_with_another_number_of_workers(
    stores, small_leaves, tmp_path, monkeypatch
):
    with pytest.raises(EmbcompError, match="a worker process died"):
        fitted(stores, tmp_path / "out", monkeypatch, SpreadEngine(1, ends_after=3), workers=1)
    there = sorted(name for name in os.listdir(tmp_path / ".out.moments") if name.endswith(".npz"))
    assert len(there) == 3 and not (tmp_path / "out").exists()
    summed, real = [], spread.leaf_moments
    monkeypatch.setattr(
        spread,
        "leaf_moments",
        lambda rows, members, number, dtype: summed.append(number) or real(rows, members, number, dtype),
    )
    fitted(stores, tmp_path / "out", monkeypatch, SpreadEngine(5), workers=5)
    kept = {leaf for name in there for leaf in range(*map(int, name.removesuffix(".npz").split("-")))}
    assert sorted(summed) == sorted(set(range(tree.leaves(ROWS))) - kept)
    fitted(stores, tmp_path / "serial", monkeypatch)
    assert contents(tmp_path / "out") == contents(tmp_path / "serial")


def test_sums_of_other_rows_are_not_gone_on_with(stores, small_leaves, tmp_path, monkeypatch):
    with pytest.raises(EmbcompError):
        fitted(stores, tmp_path / "out", monkeypatch, SpreadEngine(1, ends_after=3), store="b", workers=1)
    fitted(stores, tmp_path / "out", monkeypatch, workers=1)
    fitted(stores, tmp_path / "serial", monkeypatch)
    assert contents(tmp_path / "out") == contents(tmp_path / "serial")


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(5 * tree.LEAF + 7, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    config = CompressorConfig("pca", "reconstruction", 2)
    embcomp.compress(tmp_path / "x.npy", tmp_path / "serial", config=config)
    monkeypatch.setattr(spread, "sum_branch", jobs.sum_branch_killed_once)
    embcomp.compress(tmp_path / "x.npy", tmp_path / "out", config=config, workers=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "serial")
    assert sorted(os.listdir(tmp_path)) == ["killed", "out", "serial", "x.npy"]


def test_memory_does_not_grow_with_rows_times_classes(tmp_path):
    count, classes = 100_000, 100
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(count, 8)).astype(np.float32))
    y = rng.integers(0, classes, count)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracemalloc.start()
    Compressor(4, method="lda").fit(rows, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * count * classes * 0.8  # of the dense matrix of memberships


def test_what_workers_cannot_share_is_refused_before_anything_is_read(tmp_path):
    for method, objective in (("linear", "task"), ("mlp", "reconstruction"), ("mlp", "both")):
        with pytest.raises(
            ConfigError, match="which trains on rows; they share identity, random, pca and lda, and lin"
        ):
            embcomp.compress(
                tmp_path / "no",
                tmp_path / "out",
                manifest=Manifest.__new__(Manifest),
                config=CompressorConfig(method, objective, 2),
                workers=2,
            )
    with pytest.raises(ConfigError, match="did you mean 'ray'"):
        embcomp.compress(
            tmp_path / "no", tmp_path / "out", config=CompressorConfig("pca", "reconstruction", 2), engine="rey"
        )
    with pytest.raises(ConfigError, match="solver='exact' alone, not 'sample'"):
        spread.check_spread(Compressor(2, method="pca", solver="sample").get_params())
    with pytest.raises(ConfigError, match="which trains on rows"):
        spread.check_spread(Compressor(2, method="lda", shrinkage="auto").get_params())
    assert os.listdir(tmp_path) == []


def test_rows_that_are_not_finite_are_named_as_by_one_process(tmp_path, small_leaves, monkeypatch):
    rows = np.ones((300, 3), np.float32) * np.arange(300)[:, None]
    rows[[7, 250], 1] = np.nan
    np.save(tmp_path / "x.npy", rows)
    told = []
    for options in ({}, {"workers": 2}):
        with pytest.raises(DataError, match="2 of 300 rows hold NaN or infinity") as error:
            fitted(tmp_path, tmp_path / "out", monkeypatch, store="x.npy", **options)
        told.append(str(error.value))
    assert told[0] == told[1] and os.listdir(tmp_path) == ["x.npy"]


def test_files_of_others_and_another_process_are_left_alone(stores, small_leaves, tmp_path, monkeypatch):
    (tmp_path / ".out.moments").mkdir()
    (tmp_path / ".out.moments" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"\.out\.moments holds mine\.txt"):
        fitted(stores, tmp_path / "out", monkeypatch, workers=2)
    assert (tmp_path / ".out.moments" / "mine.txt").read_text() == "mine"
    with WriterLock(tmp_path / "busy"), pytest.raises(BusyError, match="another process is writing"):
        fitted(stores, tmp_path / "busy", monkeypatch, workers=2)


def test_rows_that_change_meanwhile_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 2), np.float32))
    place = spread.place_of(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.save(tmp_path / "x.npy", np.ones((5, 2), np.float32))
    with pytest.raises(StoreError, match="was changed while it was read; run again"):
        spread.rows_at(place)
    (tmp_path / "x.npy").unlink()
    with pytest.raises(StoreError, match="all machines must see the same files"):
        spread.rows_at(place)


@pytest.fixture(scope="module")
def compressor(stores):
    embcomp.compress(stores / "one", stores / "compressor", config=CompressorConfig("pca", "reconstruction", 3))
    return stores / "compressor"


def applied(stores, out, monkeypatch, crew=None, store="one", **options):
    monkeypatch.setattr("embcomp.engines.open_engine", lambda name, workers, threads: crew or SpreadEngine())
    monkeypatch.setattr("embcomp.compression.store.BATCH", 64)
    monkeypatch.setattr("embcomp.compression.sharded.ALIGNED", 64)
    return embcomp.apply(stores / "compressor", stores / store, out, **options)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("store", ["one", "shards"])
def test_targets_have_the_bytes_of_one_process(stores, compressor, tmp_path, monkeypatch, store, dtype):
    applied(stores, tmp_path / "serial", monkeypatch, store=store, dtype=dtype)
    for workers in (1, 2, 7):
        engine, out = SpreadEngine(workers, seed=workers, twice=store == "one"), tmp_path / f"{workers}"
        applied(stores, out, monkeypatch, engine, store, dtype=dtype, workers=workers)
        # Of 16 batches at least four jobs for each worker, and of shards one each.
        assert engine.given == [2 if store == "shards" else {1: 4, 2: 8, 7: 16}[workers]]
        assert contents(out, (".lock",)) == contents(tmp_path / "serial", (".lock",))
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "7", "serial"]


@pytest.mark.parametrize("store, after", [("one", 2), ("shards", 1)])
def test_targets_that_are_there_are_not_made_again(stores, compressor, tmp_path, monkeypatch, store, after):
    applied(stores, tmp_path / "serial", monkeypatch, store=store)
    with pytest.raises(EmbcompError, match="a worker process died"):
        applied(stores, tmp_path / "out", monkeypatch, SpreadEngine(2, ends_after=after), store, workers=2)
    made, real = [], Compressor.transform
    monkeypatch.setattr(Compressor, "transform", lambda self, X: made.append(len(X)) or real(self, X))
    applied(stores, tmp_path / "out", monkeypatch, SpreadEngine(3), store, workers=3)
    assert 0 < sum(made) < ROWS
    assert contents(tmp_path / "out") == contents(tmp_path / "serial")
    assert sorted(os.listdir(tmp_path)) == ["out", "serial"]


def test_several_vectors_a_row_are_shared_too_and_vectors_in_memory_are_not(stores, compressor, tmp_path, monkeypatch):
    names = [f"{number}.wav" for number in range(300)]
    rows = np.random.default_rng(0).normal(size=(300, 2 * WIDTH)).astype(np.float32)
    write_store(tmp_path / "frames", names, names, 2 * WIDTH, {"frames": 2}, lambda n: rows[n])
    np.savez(tmp_path / "x.npz", ids=names, vectors=rows[:, :WIDTH])
    for store, jobs_given in (("frames", 1), ("x.npz", 0)):
        engine = SpreadEngine(2)
        found = [
            applied(stores, tmp_path / f"{store}-{number}", monkeypatch, engine, tmp_path / store, **options).data
            for number, options in enumerate(({}, {"workers": 2}))
        ]
        assert np.array_equal(*found) and len(engine.gpus) == jobs_given
    with pytest.raises(ConfigError, match="unknown engine 'rai': did you mean 'ray'"):
        applied(stores, tmp_path / "out", monkeypatch, engine="rai")


def test_a_compressor_that_changes_meanwhile_is_refused(stores, compressor, tmp_path):
    with pytest.raises(ArtifactError, match="was changed while it was used; run again"):
        compress_rows(str(compressor), "other", {}, 1, [], str(tmp_path / "chunk-0.npy"))
    with pytest.raises(ArtifactError, match="was changed while it was used; run again"):
        compress_shard(str(compressor), str(stores / "shards"), str(tmp_path), {"settings": {"compressor": "other"}}, 0)


def test_rows_on_disk_that_are_not_finite_are_named_and_their_sums_cleared_away(tmp_path, small_leaves, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    rows[[7, 250], 1] = np.nan
    np.save(tmp_path / "x.npy", rows)
    monkeypatch.setattr(spread, "open_engine", lambda name, workers, threads: SpreadEngine(workers))
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(DataError, match="2 of 300 rows hold NaN or infinity .*: rows 7, 250"):
        spread.fit_spread(Compressor(2, method="pca"), rows, None, None, tmp_path / "out", workers=2)
    assert os.listdir(tmp_path) == ["x.npy"]


@pytest.mark.parametrize("width", [WIDTH - 1, WIDTH + 1])
def test_vectors_of_another_width_are_refused_before_anything_is_written(compressor, tmp_path, width):
    np.savez(tmp_path / "x.npz", ids=["a", "b"], vectors=np.ones((2, width), np.float32))
    with pytest.raises(StoreError, match=f"holds {width} dimensions, .*compressor was fitted on {WIDTH}; apply it to"):
        embcomp.apply(compressor, tmp_path / "x.npz", tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.npz"]


@pytest.mark.parametrize(
    ("options", "opened"),
    [
        ({"engine": "ray"}, ("ray", 0, 1)),  # as many as there are cores
        ({"workers": 0}, ("local", 0, 1)),
        ({"workers": 3, "threads": 2}, ("local", 3, 2)),
        ({"engine": "ray", "workers": 2}, ("ray", 2, 1)),
        ({}, None),
    ],
)
def test_workers_are_opened_where_they_are_asked_for_by_number_or_by_engine(
    stores, compressor, tmp_path, monkeypatch, options, opened
):
    asked = []
    monkeypatch.setattr("embcomp.engines.open_engine", lambda *given: asked.append(given) or SpreadEngine())
    embcomp.apply(compressor, stores / "one", tmp_path / "out", **options)
    assert asked == ([] if opened is None else [opened])
