"""Moments of many rows as a tree: leaves of a fixed number of rows, added in pairs.

Which rows make a leaf and which sums are added to which depends on nothing but the number of rows. So the last digits
do not depend on who sums what: one process, or several that each take a branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embcomp.compression.moments import Moments, summed_in
from embcomp.compression.rows import Rows, raise_not_finite

LEAF = 1 << 16  # rows


class NotFinite(Exception):
    """A leaf holds NaN or infinity, or its squares overflow."""


def leaves(count: int) -> int:
    """Leaves of a tree of so many rows."""
    return -(-count // LEAF)


def branches(start: int, stop: int, most: int) -> list[tuple[int, int]]:
    """The largest branches of at most `most` leaves, a power of two, that the leaves from `start` to `stop` consist of.

    Examples
    --------
    >>> branches(0, 7, 2)
    [(0, 2), (2, 4), (4, 6), (6, 7)]
    """
    return [(first, min(first + most, stop)) for first in range(start, stop, most)]


def added(
    start: int,
    stop: int,
    leaf: Callable[[int], list[Moments]],
    known: Callable[[int, int], list[Moments] | None] = lambda start, stop: None,
) -> list[Moments]:
    """Sums of the leaves from `start` to `stop`, a branch of the tree.

    Parameters
    ----------
    leaf : callable
        Moments of the leaf of that number: one or several kinds of them, each added by itself.
    known : callable
        Those of a branch that is known already, or None.
    """
    found = known(start, stop)
    if found is not None:
        return found
    if stop - start == 1:
        return leaf(start)
    middle = start + (1 << ((stop - start - 1).bit_length() - 1))  # the left one is whole: a power of two
    left, right = added(start, middle, leaf, known), added(middle, stop, leaf, known)
    return [one.merge(other) for one, other in zip(left, right, strict=True)]


def leaf_moments(rows: Rows, membership: Any, number: int, dtype: np.dtype) -> Moments:
    """Moments of one leaf.

    Parameters
    ----------
    rows : Rows
        All of them.
    membership : Membership, ndarray of shape (n, n_classes) or None
    number : int
        Of the leaf.
    dtype : numpy dtype
        See `embcomp.compression.moments.summed_in`.

    Raises
    ------
    NotFinite
    """
    found = Moments(rows.shape[1], 0 if membership is None else membership.shape[1])
    if not found.add(rows, membership, number * LEAF, min((number + 1) * LEAF, len(rows)), dtype):
        raise NotFinite
    return found


def collect(rows: Rows, membership: Any = None) -> Moments:
    """Moments of all rows, shape ``(n, dim)``, in one pass.

    Raises
    ------
    DataError
        NaN or infinity: which rows.
    """
    dtype = summed_in(rows)
    try:
        (found,) = added(0, leaves(len(rows)), lambda number: [leaf_moments(rows, membership, number, dtype)])
    except NotFinite:
        raise_not_finite(rows)
    return found
