"""What is scored: truth and predictions of clips, and the groups and students they belong to."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from embcomp.errors import DataError


@dataclass(frozen=True)
class Rows:
    """Predictions with their truth, one row for every clip and student.

    Attributes
    ----------
    truth : ndarray of shape (n, classes), float32
        1 applies, 0 does not, NaN unknown.
    probabilities : ndarray of shape (n, classes), float64
        Probabilities; of a mere choice of class, 1 for it and 0 for the others.
    group : ndarray of int64 of shape (n,)
        Number of each row's group, 0 to ``groups - 1``.
    groups : int
    student : ndarray of int64 of shape (n,)
        Who predicted: scores are only ever ranked among a student's own.
    multi_label : bool
    threshold : float
        Multi-label: a class is predicted from this probability on.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    group: np.ndarray
    groups: int
    student: np.ndarray
    multi_label: bool = False
    threshold: float = 0.5

    @classmethod
    def of(
        cls,
        truth: np.ndarray,
        predicted: np.ndarray,
        classes: int,
        groups: np.ndarray | None = None,
        students: np.ndarray | None = None,
        multi_label: bool = False,
        threshold: float = 0.5,
    ) -> Rows:
        """Check arrays and put them together; rows of which nothing is known are left out.

        Parameters
        ----------
        truth : ndarray of int of shape (n,), or (n, classes)
            Class numbers, or 1, 0 and NaN.
        predicted : ndarray of int of shape (n,), or (n, classes)
            Class numbers, or probabilities.
        groups, students : ndarray of shape (n,), optional
            By default each row is a group of its own, and all are one student's.

        Raises
        ------
        DataError
            Lengths differ, a class number is out of range, or a probability is not one.
        """
        count = len(truth)
        groups = np.arange(count) if groups is None else np.asarray(groups)
        missing = [row for row, group in enumerate(groups.tolist()) if _missing(group)] if groups.ndim == 1 else []
        if missing:
            named = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            raise DataError(f"{len(missing)} of {count} rows have no group: rows {named}")
        students = np.zeros(count, dtype=np.int64) if students is None else np.asarray(students)
        if not count == len(predicted) == len(groups) == len(students):
            lengths = f"{count}, {len(predicted)}, {len(groups)}"
            raise DataError(f"truth, predictions and groups differ in length: {lengths}")
        truth = _matrix(np.asarray(truth), classes).astype(np.float32)
        probabilities = _matrix(np.asarray(predicted), classes).astype(np.float64)
        if not (probabilities >= 0).all() or not (probabilities <= 1 + 1e-5).all():
            raise DataError("probabilities must lie in 0..1, without NaN; pass logits through softmax or sigmoid first")
        if not np.isin(truth, (0, 1)).all() and not (np.isnan(truth) | (truth == 0) | (truth == 1)).all():
            raise DataError("truth must be class numbers, or a matrix of 1 (applies), 0 (does not) and NaN (unknown)")
        if not multi_label and not np.isin(truth[~np.isnan(truth).any(axis=1)].sum(axis=1), (1,)).all():
            raise DataError("clips with one label each have exactly one 1 in a row; say multi_label=True for others")
        known = ~np.isnan(truth).all(axis=1) if multi_label else ~np.isnan(truth).any(axis=1)
        # Groups are named in a fixed order, so that the interval does not depend on the order of clips.
        names, group = np.unique(groups[known].astype(str), return_inverse=True)
        student = np.unique(students[known], return_inverse=True)[1]
        return cls(truth[known], probabilities[known], group, len(names), student, multi_label, threshold)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.truth.shape[1]

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Which truths are known, bool (n, classes)."""
        return ~np.isnan(self.truth)

    @functools.cached_property
    def index(self) -> np.ndarray:
        """True class number of each row, int64 (n,); of single labels only."""
        return np.nan_to_num(self.truth).argmax(axis=1)

    @functools.cached_property
    def chosen(self) -> np.ndarray:
        """Predicted class number of each row, int64 (n,)."""
        return self.probabilities.argmax(axis=1)

    def by_group(self, values: np.ndarray) -> np.ndarray:
        """Sums of `values` (n, ...) over the rows of each group, (groups, ...)."""
        cells = (np.ones(len(self)), (self.group, np.arange(len(self))))
        member = sparse.csr_array(cells, shape=(self.groups, len(self)))
        return (member @ values.reshape(len(self), math.prod(values.shape[1:]))).reshape(self.groups, *values.shape[1:])


def _matrix(values: np.ndarray, classes: int) -> np.ndarray:
    if values.ndim == 2:
        if values.shape[1] != classes:
            raise DataError(f"expected {classes} columns, one for each class; found {values.shape[1]}")
        return values
    if len(values) and not 0 <= values.min() <= values.max() < classes:
        raise DataError(f"class numbers must lie in 0..{classes - 1}")
    return np.eye(classes, dtype=np.float32)[values.astype(np.int64)]


def _missing(group: object) -> bool:
    """Whether a group is None, NaN or pandas' NA, which alone differ from themselves, or cannot tell."""
    if group is None:
        return True
    try:
        return bool(group != group)
    except (TypeError, ValueError):
        return True
