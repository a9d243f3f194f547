"""Streamed moments: equal to the whole matrix, mergeable, and bounded in memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from embcomp.compression import Compressor, Moments
from embcomp.compression import moments as module
from embcomp.errors import DataError


def check_equal(found: Moments, X: np.ndarray, rtol: float = 1e-5):
    centred = X - X.mean(axis=0, dtype=float)
    scatter = centred.T @ centred
    assert found.count == len(X)
    np.testing.assert_allclose(found.mean, X.mean(axis=0, dtype=float), rtol=rtol, atol=rtol * np.abs(X).max())
    np.testing.assert_allclose(found.scatter, scatter, atol=rtol * np.diag(scatter).max())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("always_float64", [True, False])
def test_moments_equal_numpy(monkeypatch, dtype, always_float64):
    monkeypatch.setattr(module, "SMALL", np.inf if always_float64 else 0)
    X = np.random.default_rng(0).normal(3, 1, (10_000, 24)).astype(dtype)
    check_equal(Moments(24).update(X), X.astype(float))


def test_a_large_mean_costs_no_digits(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)
    X = (np.random.default_rng(0).normal(size=(9000, 8)) + 1000).astype(np.float32)
    check_equal(Moments(8).update(X), X.astype(float))


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 100), max_size=4), seed=st.integers(0, 99))
def test_shards_merge_to_the_whole_in_any_order(cuts, seed):
    X = np.random.default_rng(seed).normal(size=(100, 5)) * 3 + 7
    shards = [shard for shard in np.split(X, sorted(cuts)) if len(shard)]
    parts = [Moments(5).update(shard) for shard in shards]
    for order in (parts, parts[::-1]):
        total = Moments(5)
        for part in order:
            total = total + part
        check_equal(total, X, 1e-10)


def test_class_sums_equal_the_repeated_rows():
    rng = np.random.default_rng(0)
    X, membership = rng.normal(size=(500, 4)), rng.integers(0, 3, (500, 3)).astype(float)
    rows = np.concatenate([np.repeat(X, membership[:, k].astype(int), axis=0) for k in range(3)])
    whole = Moments(4, 3).update(X, membership)
    halves = Moments(4, 3).update(X[:77], membership[:77]) + Moments(4, 3).update(X[77:], membership[77:])
    for found in (whole, halves):
        np.testing.assert_allclose(found.mean, rows.mean(axis=0))
        np.testing.assert_allclose(found.scatter, np.cov(rows.T) * (len(rows) - 1))
        for k in range(3):
            expected = np.average(X, axis=0, weights=membership[:, k])
            np.testing.assert_allclose(found.class_mean[k], expected, atol=1e-12)
        np.testing.assert_allclose(found.class_mass, membership.sum(axis=0))


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """60,000 x 128 float32, 31 MB: several blocks."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60_000, 128)) * np.linspace(2, 0.1, 128)).astype(np.float32) + 1
    path = tmp_path_factory.mktemp("moments") / "data.npy"
    np.save(path, X)
    return path, X


@pytest.mark.parametrize("method", ["pca", "lda", "linear"])
def test_out_of_core_equals_in_memory(on_disk, method):
    path, X = on_disk
    y = (X[:, 0] > 1).astype(int) + (X[:, 1] > 1)
    options = {"n_components": 2, "method": method, "objective": "reconstruction"}
    streamed = Compressor(**options).fit(np.load(path, mmap_mode="r"), y).transform(X[:500])
    in_memory = Compressor(**options).fit(X.astype(float), y).transform(X[:500])
    np.testing.assert_allclose(streamed, in_memory, atol=1e-5 * np.abs(in_memory).max())


def test_a_fit_from_disk_is_bounded_in_memory(on_disk):
    path, X = on_disk
    X = np.load(path, mmap_mode="r")
    tracemalloc.start()
    Compressor(16, "pca").fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A block of 16 MB may be shifted into a second; the file itself is twice that.
    assert peak < X.nbytes * 0.75
    tracemalloc.start()
    Compressor(16, "pca").fit(X[:30_000])
    half = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < half * 1.1


@pytest.mark.parametrize("method", ["pca", "random", "linear"])
def test_partial_fit_equals_fit(method):
    X = np.random.default_rng(0).normal(size=(300, 10)) @ np.diag(np.linspace(3, 1, 10))
    piecewise = Compressor(4, method, "reconstruction")
    for shard in np.split(X, 3):
        piecewise.partial_fit(shard)
    whole = Compressor(4, method, "reconstruction").fit(X)
    np.testing.assert_allclose(piecewise.transform(X), whole.transform(X), atol=1e-5)
    assert piecewise.n_samples_ == 300


@pytest.mark.parametrize("sizes", [[1] * 40, [3, 1, 30, 6], [8] * 5])
def test_batches_of_any_size_add_up_to_one_fit(sizes):
    X = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32) * np.arange(1, 17)
    streamed, start = Compressor(12, "pca"), 0
    for size in sizes:
        assert (
            streamed.partial_fit(X[start : start + size], ids=[str(row) for row in range(start, start + size)])
            is streamed
        )
        start += size
    whole = Compressor(12, "pca").fit(X)
    assert streamed.n_samples_ == 40 and streamed.seen(["0", "39", "40"]) == ["0", "39"]
    np.testing.assert_allclose(np.abs(streamed.transform(X)), np.abs(whole.transform(X)), atol=1e-3)


def test_too_few_rows_so_far_are_no_fit_yet_and_no_error():
    X = np.random.default_rng(0).normal(size=(40, 16))
    streamed = Compressor(12, "pca").partial_fit(X[:8])
    with pytest.raises(NotFittedError):
        streamed.transform(X)
    assert streamed.partial_fit(X[8:16]).transform(X).shape == (40, 12)
    first = streamed.transform(X)
    assert not np.allclose(streamed.partial_fit(100 * X[16:]).transform(X), first)  # later rows count too


def test_what_no_further_row_could_mend_is_refused_at_once():
    X = np.random.default_rng(0).normal(size=(8, 16))
    with pytest.raises(DataError, match="n_components=17 is more than 16"):
        Compressor(17, "pca").partial_fit(X)
    with pytest.raises(DataError, match="8 rows of embeddings but 3 ids"):
        Compressor(4, "pca").partial_fit(X, ids=["a", "b", "c"])


def test_partial_fit_exists_only_where_it_is_exact():
    assert hasattr(Compressor(4, "pca"), "partial_fit")
    assert not hasattr(Compressor(4, "linear", "task"), "partial_fit")
    assert not hasattr(Compressor(4, "mlp", "reconstruction"), "partial_fit")


def test_moments_summed_elsewhere_give_the_same_compressor():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 10)), rng.integers(0, 3, 300)
    X[:, 0] += 2 * y
    for method, membership in (("pca", None), ("lda", np.eye(3)[y])):
        classes = 0 if membership is None else 3
        parts = [
            Moments(10, classes).update(X[rows], None if membership is None else membership[rows])
            for rows in np.array_split(np.arange(300), 4)
        ]
        total = parts[0] + parts[1] + parts[2] + parts[3]
        found = Compressor(2, method).fit_moments(total, ids=[str(row) for row in range(300)])
        np.testing.assert_allclose(found.transform(X), Compressor(2, method).fit(X, y).transform(X), atol=1e-5)
        assert found.seen(["7", "300"]) == ["7"]
