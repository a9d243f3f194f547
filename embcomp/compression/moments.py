"""Streamed, mergeable first and second moments.

One pass over the rows gives all that the closed forms need. Blocks are summed
about a shift, in float32 where the data is and there is much of it, and added
up in float64; two sets of moments merge exactly, so shards can be summed apart
and in any order.

References
----------
.. [1] Chan, Golub & LeVeque, "Updating Formulae and a Pairwise Algorithm for
   Computing Sample Variances", COMPSTAT 1982.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from embcomp.compression.rows import Rows, as_rows, block_rows, raise_not_finite
from embcomp.compression.targets import Membership
from embcomp.errors import DataError

# Below this many products float64 costs under a tenth of a second, and saves
# the last components from float32's rounding where eigenvalues lie close.
SMALL = 4e9
# From so many dimensions on, one matrix of their square is held and no second: products go into it strip by strip.
WIDE = 3000
STRIP = 512  # rows of such a matrix
HELD = ("count", "mass", "mean", "scatter", "class_mass", "class_mean")


class Moments:
    """Count, mean and centred scatter of rows; with classes, their means too.

    Parameters
    ----------
    n_features : int
        Width of the rows, dim.
    n_classes : int, default=0
        With classes, every update needs the rows' membership.

    Attributes
    ----------
    count : int
        Rows seen.
    mass : float
        Sum of the row weights; equals `count` when there are none.
    mean : ndarray of shape (dim,), float64
    scatter : ndarray of shape (dim, dim), float64
        Sum of ``w (x - mean)(x - mean)^T``.
    class_mass : ndarray of shape (n_classes,), float64
    class_mean : ndarray of shape (n_classes, dim), float64
    """

    def __init__(self, n_features: int, n_classes: int = 0):
        self.count = 0
        self.mass = 0.0
        self.mean = np.zeros(n_features)
        self.scatter = np.zeros((n_features, n_features))
        self.class_mass = np.zeros(n_classes)
        self.class_mean = np.zeros((n_classes, n_features))

    @property
    def n_features(self) -> int:
        return len(self.mean)

    @property
    def n_classes(self) -> int:
        return len(self.class_mass)

    @property
    def variance(self) -> np.ndarray:
        """Variance of each dimension, shape ``(dim,)``, with the n - 1 of a sample."""
        return np.diag(self.scatter) / self.degrees

    @property
    def degrees(self) -> float:
        """What turns the scatter into a covariance: mass times (n - 1) / n."""
        return self.mass * (self.count - 1) / self.count if self.count > 1 else 1.0

    def update(self, X: Any, membership: np.ndarray | None = None) -> Moments:
        """Add rows.

        Parameters
        ----------
        X : (n, dim) array, tensor, memory map or store
        membership : ndarray of shape (n, n_classes), optional
            Weight with which a row belongs to each class; the row's own weight
            is their sum. Rows of weight zero are left out.

        Returns
        -------
        Moments
            Itself.

        Raises
        ------
        DataError
            Another width, membership missing or of another shape, NaN or infinity (which rows).
        """
        rows = as_rows(X)
        if rows.shape[1] != self.n_features:
            raise DataError(f"rows have {rows.shape[1]} dimensions, these moments {self.n_features}")
        if (membership is None) != (self.n_classes == 0):
            raise DataError("moments with classes need the rows' membership, and those without take none")
        if membership is not None and np.shape(membership) != (len(rows), self.n_classes):
            raise DataError(f"membership has shape {np.shape(membership)}, expected {(len(rows), self.n_classes)}")
        if not self.add(rows, membership, 0, len(rows), summed_in(rows)):
            raise_not_finite(rows)
        return self

    def add(
        self, rows: Rows, membership: np.ndarray | Membership | None, start: int, stop: int, dtype: np.dtype
    ) -> bool:
        """Add the rows from `start` to `stop`, multiplied in `dtype`; False says that some are not finite.

        Nothing else is checked; see :meth:`update`.
        """
        size = block_rows(self.n_features)
        buffer = np.empty((min(size, stop - start), self.n_features), dtype)
        wide = self.n_features >= WIDE
        product = None if wide else np.empty((self.n_features, self.n_features), dtype)
        for first, block in rows.blocks(size, start, stop):
            # NaN and infinity are found in the sums, so the arithmetic need not warn of them.
            members = None if membership is None else membership[first : first + len(block)]
            with np.errstate(invalid="ignore", over="ignore"):
                clean = self._add_block(block, members, buffer, product)
            if not clean:
                return False
        if wide:
            mirror(self.scatter)
        return True

    def _add_block(
        self, block: np.ndarray, members: np.ndarray | None, buffer: np.ndarray, product: np.ndarray | None
    ) -> bool:
        if members is not None:
            kept = members.sum(axis=1) > 0
            if not kept.all():
                block, members = block[kept], members[kept]
        if not len(block):
            return True
        # About a point inside the data no digits cancel; any point would be right.
        shift = block[:64].mean(axis=0, dtype=buffer.dtype)
        centred = np.subtract(block, shift, out=buffer[: len(block)])
        weights = None if members is None else members.sum(axis=1)
        mass = float(len(block)) if weights is None else float(weights.sum())
        if weights is None:
            total = np.ones(len(block), centred.dtype) @ centred
        else:
            total = weights.astype(centred.dtype) @ centred
        if not np.isfinite(total).all():
            return False
        if members is not None and weights is not None:
            means = (
                shift
                + (members.T.astype(centred.dtype) @ centred).astype(float) / _positive(members.sum(axis=0))[:, None]
            )
            self._merge_classes(members.sum(axis=0), means)
            centred *= np.sqrt(weights).astype(centred.dtype)[:, None]
        offset = total.astype(float) / mass
        if product is None:
            _add_product(self.scatter, centred)
            self._merge(len(block), mass, shift + offset, None, offset)
            return bool(np.isfinite(np.trace(self.scatter)))
        np.matmul(centred.T, centred, out=product)
        self._merge(len(block), mass, shift + offset, product, offset)
        return bool(np.isfinite(product[0, 0]) and np.isfinite(np.trace(product)))

    def _merge(
        self, count: int, mass: float, mean: np.ndarray, scatter: np.ndarray | None, offset: np.ndarray | None = None
    ) -> None:
        """Add sums; `scatter` is about ``mean - offset``, about `mean` when there is none, and None where it was added."""
        if mass == 0:
            return
        if scatter is not None:
            self.scatter += scatter
        if offset is not None:
            _add_outer(self.scatter, offset, -mass)
        total = self.mass + mass
        step = mean - self.mean
        _add_outer(self.scatter, step, self.mass * mass / total)
        self.mean += step * (mass / total)
        self.mass, self.count = total, self.count + count

    def _merge_classes(self, mass: np.ndarray, mean: np.ndarray) -> None:
        total = self.class_mass + mass
        self.class_mean += (mean - self.class_mean) * (mass / _positive(total))[:, None]
        self.class_mass = total

    def merge(self, other: Moments) -> Moments:
        """Add the moments of other rows to these, and return these.

        Raises
        ------
        DataError
            Widths or classes differ.
        """
        if (self.n_features, self.n_classes) != (other.n_features, other.n_classes):
            raise DataError(
                f"cannot merge moments of {other.n_features} dimensions and {other.n_classes} classes "
                f"into {self.n_features} and {self.n_classes}"
            )
        self._merge(other.count, other.mass, other.mean, other.scatter)
        self._merge_classes(other.class_mass, other.class_mean)
        return self

    def __add__(self, other: Moments) -> Moments:
        return self.copy().merge(other)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that they hold, by name."""
        return {name: np.asarray(getattr(self, name)) for name in HELD}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """Moments from what :meth:`arrays` gave."""
        found = cls(len(arrays["mean"]), len(arrays["class_mass"]))
        for name in HELD:
            setattr(found, name, arrays[name])
        found.count, found.mass = int(found.count), float(found.mass)
        return found

    def copy(self) -> Moments:
        """Moments that can be changed without changing these."""
        return Moments(self.n_features, self.n_classes).merge(self)


def _add_outer(matrix: np.ndarray, vector: np.ndarray, factor: float, rows: int = 64) -> None:
    """Add ``factor * vector vector^T`` in place, a strip at a time, to spare a second (dim, dim) array."""
    for start in range(0, len(vector), rows):
        matrix[start : start + rows] += (factor * vector[start : start + rows, None]) * vector


def _add_product(matrix: np.ndarray, rows: np.ndarray) -> None:
    """Add ``rows^T rows`` in place to the upper triangle, a strip at a time; `mirror` makes the lower one the same."""
    for start in range(0, len(matrix), STRIP):
        matrix[start : start + STRIP, start:] += rows[:, start : start + STRIP].T @ rows[:, start:]


def mirror(matrix: np.ndarray, lower: bool = False) -> None:
    """Copy the upper triangle of a square matrix into its lower one, or the other way round, in place.

    Parameters
    ----------
    lower : bool
        Whether the lower triangle is the one that is copied.
    """
    for start in range(0, len(matrix), STRIP):
        stop = start + STRIP
        corner = matrix[start:stop, start:stop]
        rows, columns = np.tril_indices(len(corner), -1)
        if lower:
            corner[columns, rows] = corner[rows, columns]
            matrix[start:stop, stop:] = matrix[stop:, start:stop].T
        else:
            corner[rows, columns] = corner[columns, rows]
            matrix[stop:, start:stop] = matrix[start:stop, stop:].T


def _positive(mass: np.ndarray) -> np.ndarray:
    return np.where(mass > 0, mass, 1.0)


def summed_in(rows: Rows) -> np.dtype:
    """The type in which products of these rows are summed within a block."""
    return np.dtype(np.float64 if len(rows) * rows.shape[1] ** 2 <= SMALL else rows.dtype)
