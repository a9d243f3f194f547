"""From vectors over time to one vector, or to one for each equal share of the time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embcomp.teachers.windows import shares

POOLINGS = {
    "mean": lambda rows: rows.mean(0),
    "max": lambda rows: rows.max(0),
    "min": lambda rows: rows.min(0),
    "std": lambda rows: rows.std(0),
    "median": lambda rows: np.median(rows, 0),
    "first": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
}
# Mean and standard deviation, as speaker verification pools (Snyder et al., Interspeech 2017).
GROUPS = {"statistics": ("mean", "std")}
NAMES = (*POOLINGS, *GROUPS)


def parts(names: Sequence[str]) -> tuple[str, ...]:
    """The single poolings that `names` stand for: ``statistics`` is mean and standard deviation.

    Examples
    --------
    >>> parts(["statistics", "max"])
    ('mean', 'std', 'max')
    """
    return tuple(part for name in names for part in GROUPS.get(name, (name,)))


def pool(rows: np.ndarray, names: Sequence[str], frames: int = 1) -> np.ndarray:
    """Pool vectors over time, the poolings one after the other.

    Parameters
    ----------
    rows : ndarray of shape (time, width)
        At least one.
    names : sequence of str
        Keys of `POOLINGS` and `GROUPS`.
    frames : int, default=1
        Pool so many equal shares of the time, one after the other; a row that reaches into two belongs to both.

    Returns
    -------
    ndarray of shape (frames * poolings * width,), float32

    Examples
    --------
    >>> pool(np.array([[1.0], [3.0]]), ["mean", "max"])
    array([2., 3.], dtype=float32)
    """
    pooled = [POOLINGS[name](rows[share]) for share in shares(len(rows), frames) for name in parts(names)]
    return np.concatenate(pooled).astype(np.float32)
