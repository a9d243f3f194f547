"""Many dimensions: one matrix of their square is held, and what comes of it is the same but for rounding."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from embcomp.compression import Compressor
from embcomp.compression.moments import Moments, mirror

DIM = 23


@pytest.fixture
def strips(monkeypatch):
    """Strips that do not divide the dimensions, from few dimensions on."""
    for module in ("moments", "frame"):
        monkeypatch.setattr(f"embcomp.compression.{module}.WIDE", 8)
        monkeypatch.setattr(f"embcomp.compression.{module}.STRIP", 5)


def rows(count: int = 300, dim: int = DIM) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim)) + 3).astype(np.float32)


def test_moments_by_strips_are_those_of_the_whole_matrix(strips):
    data, members = rows(), np.random.default_rng(1).random((300, 2))
    members[::7] = 0
    centred = data.astype(float) - data.mean(0, dtype=float)
    found = Moments(DIM).update(data[:100]).update(data[100:])
    np.testing.assert_allclose(found.scatter, centred.T @ centred, rtol=1e-5, atol=1e-3)
    assert (found.scatter == found.scatter.T).all()
    weights = members.sum(1)
    mean = weights @ data / weights.sum()
    weighed = Moments(DIM, 2).update(data, members)
    np.testing.assert_allclose(weighed.scatter, ((data - mean).T * weights) @ (data - mean), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": True, "whiten": True}])
def test_components_and_decoders_are_the_same(options, monkeypatch, request):
    data = rows()
    whole = Compressor(4, "pca", **options).fit(data)
    request.getfixturevalue("strips")
    wide = Compressor(4, "pca", **options).fit(data)
    np.testing.assert_allclose(wide.transform(data), whole.transform(data), atol=2e-4)
    codes = whole.transform(data)
    np.testing.assert_allclose(wide.inverse_transform(codes), whole.inverse_transform(codes), atol=2e-3)
    np.testing.assert_allclose(wide.retained_variance_, whole.retained_variance_, atol=1e-6)


def test_moments_given_are_left_as_they_are(strips):
    given = Moments(DIM).update(rows())
    before = given.copy()
    Compressor(4, "pca").fit_moments(given)
    np.testing.assert_allclose(given.scatter, before.scatter, rtol=1e-12)
    np.testing.assert_array_equal(given.mean, before.mean)


def test_rows_that_are_not_finite_are_named(strips):
    data = rows()
    data[17, 3] = np.inf
    with pytest.raises(ValueError, match="rows 17"):
        Compressor(4, "pca").fit(data)


@pytest.mark.parametrize("size", [1, 5, 12])
def test_a_triangle_is_mirrored(strips, size):
    matrix = np.arange(size * size, dtype=float).reshape(size, size)
    upper, lower = matrix.copy(), matrix.copy()
    mirror(upper)
    mirror(lower, lower=True)
    assert (upper == np.triu(matrix) + np.triu(matrix, 1).T).all()
    assert (lower == np.tril(matrix) + np.tril(matrix, -1).T).all()


def test_no_second_matrix_is_made(monkeypatch):
    dim = 1200
    for module in ("moments", "frame"):
        monkeypatch.setattr(f"embcomp.compression.{module}.WIDE", dim)
        monkeypatch.setattr(f"embcomp.compression.{module}.STRIP", 64)
    data = np.random.default_rng(0).normal(size=(400, dim)).astype(np.float32)
    Compressor(2, "pca").fit(data[:, :9])
    tracemalloc.start()
    try:
        Compressor(8, "pca").fit(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * 8 * dim**2
