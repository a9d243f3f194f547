"""How the moments of many rows are found: all of them, a sample, or their leading subspace.

``exact`` is one pass whose cost grows with dim squared. The other two trade
the last digits of the captured variance for time, and never pick themselves.

References
----------
.. [1] Halko, Martinsson & Tropp, "Finding Structure with Randomness", SIAM Review 2011.
.. [2] Tropp, Yurtsever, Udell & Cevher, "Fixed-Rank Approximation of a Positive-Semidefinite
   Matrix from Streaming Data", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import scipy.linalg

from embcomp.compression.closed_form import leading_eigh
from embcomp.compression.moments import Moments
from embcomp.compression.rows import Rows, block_rows, raise_not_finite
from embcomp.compression.targets import Membership
from embcomp.compression.tree import collect
from embcomp.errors import ConfigError

SAMPLE_ROWS = 8192
PILOT_ROWS = 4096
TOLERANCE = 1e-4
OVERSAMPLING = 32


def exact(rows: Rows, membership: Membership | None, count: int, seed: int) -> Moments:
    """Moments of all rows."""
    return collect(rows, membership)


def sample(rows: Rows, membership: Membership | None, count: int, seed: int) -> Moments:
    """Moments of a random sample that doubles until more rows no longer help.

    The test is made on the fresh half: how much more of its variance does the
    subspace of twice the rows capture? What a sample loses falls as 1/n, so
    the last gain is also the loss that remains. Stops below 1e-4.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    size = min(len(rows), max(SAMPLE_ROWS, 8 * count))
    moments = _take(rows, membership, order[:size])
    basis = _basis(moments, count)
    while size < len(rows):
        fresh = _take(rows, membership, order[size : 2 * size])
        size = min(2 * size, len(rows))
        held_out = fresh.scatter / fresh.degrees
        moments.merge(fresh)
        better = _basis(moments, count)
        before, after = (float(np.einsum("ij,ij->", V, V @ held_out)) for V in (basis, better))
        # The fresh rows are part of the larger sample, so its gain on them is, if anything, overstated.
        if after - before <= TOLERANCE * after:
            break
        basis = better
    return moments


def subspace(rows: Rows, membership: Membership | None, count: int, seed: int) -> FactoredMoments:
    """Leading subspace of a pilot sample, improved by one pass over all rows.

    One step of subspace iteration from a start that is nearly right, with the
    Nystrom approximation ``C Q (Q^T C Q)^-1 Q^T C`` in place of a second pass.
    The cost grows with dim times `count`, not with dim squared.
    """
    dim = rows.shape[1]
    width = min(count + OVERSAMPLING, dim, len(rows))
    order = np.random.default_rng(seed).permutation(len(rows))[: max(PILOT_ROWS, 2 * width)]
    pilot = _take(rows, None, order)
    start = _basis(pilot, width).T.astype(rows.dtype)
    shift = pilot.mean.astype(rows.dtype)
    image, total, squares = np.zeros((dim, width)), np.zeros(dim), np.zeros(dim)
    size = block_rows(dim)
    buffer = np.empty((min(size, len(rows)), dim), rows.dtype)
    for _, block in rows.blocks(size):
        centred = np.subtract(block, shift, out=buffer[: len(block)])
        image += centred.T @ (centred @ start)
        ones = np.ones(len(block), rows.dtype)
        total += ones @ centred
        squares += ones @ np.square(centred, out=centred)
    if not (np.isfinite(squares).all() and np.isfinite(image).all()):
        raise_not_finite(rows)
    offset = total / len(rows)
    start = start.astype(float)
    image -= len(rows) * np.outer(offset, offset @ start)
    core = start.T @ image
    # A shift of rounding's size keeps the factorisation alive where variance runs out.
    nudge = np.finfo(rows.dtype).eps * np.trace(core)
    lower = np.linalg.cholesky((core + core.T) / 2 + nudge * np.eye(width))
    factor = scipy.linalg.solve_triangular(lower, (image + nudge * start).T, lower=True, check_finite=False).T
    variance = np.maximum(squares - len(rows) * offset**2, 0) / max(len(rows) - 1, 1)
    return FactoredMoments(len(rows), shift + offset, variance, factor)


Solver = Callable[[Rows, Membership | None, int, int], "Moments | FactoredMoments"]
SOLVERS: dict[str, Solver] = {"exact": exact, "sample": sample, "subspace": subspace}


def sums(
    rows: Rows, membership: Membership | None, solver: str, n_components: float | None, seed: int
) -> tuple[Moments | FactoredMoments, Moments | None]:
    """Moments of all rows, and of the labelled ones by class.

    One pass serves both where every row has one label of weight 1; else the
    rows without labels still count for the first, which takes another.
    """
    count = int(n_components) if isinstance(n_components, Integral) else min(rows.shape)
    if membership is None:
        return SOLVERS[solver](rows, None, count, seed), None
    by_class = SOLVERS[solver](rows, membership, count, seed)
    if isinstance(by_class, FactoredMoments):
        raise ConfigError(f"solver={solver!r} finds no sums by class; use 'exact' or 'sample'")
    return (by_class if membership.one_each() else SOLVERS[solver](rows, None, count, seed)), by_class


@dataclass(frozen=True)
class FactoredMoments:
    """Moments whose scatter is known in its leading directions only.

    Attributes
    ----------
    count : int
    mean, variance : ndarray of shape (dim,)
        Exact.
    factor : ndarray of shape (dim, r)
        ``scatter = factor factor^T``.
    """

    count: int
    mean: np.ndarray
    variance: np.ndarray
    factor: np.ndarray

    @property
    def n_features(self) -> int:
        return len(self.mean)

    @property
    def mass(self) -> float:
        return float(self.count)

    @property
    def degrees(self) -> float:
        return float(max(self.count - 1, 1))

    @property
    def scatter(self) -> np.ndarray:
        return self.factor @ self.factor.T


def _take(rows: Rows, membership: Membership | None, index: np.ndarray) -> Moments:
    # In the order of the file: a disk reads forward faster than at random.
    index = np.sort(index)
    moments = Moments(rows.shape[1], 0 if membership is None else membership.shape[1])
    size = block_rows(rows.shape[1])
    for start in range(0, len(index), size):
        part = index[start : start + size]
        moments.update(rows[part], None if membership is None else membership[part])
    return moments


def _basis(moments: Moments, count: int) -> np.ndarray:
    covariance = moments.scatter.astype(np.float32)
    covariance /= moments.degrees
    return leading_eigh(covariance, count)[1]
