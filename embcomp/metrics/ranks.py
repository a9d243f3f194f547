"""Average precision and ROC-AUC, exact for any weights of the groups.

Both need only the thresholds at which there is a clip that the class applies to. For each, the clips it applies to and those
it does not are counted by group once; a bootstrap replicate is then a product with its weights. A thousand
replicates cost what the counts do, whatever the number of groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from embcomp.metrics.counts import mean_where
from embcomp.metrics.rows import Rows

DENSE = 1024  # cells; up to so many a sparse array takes longer to make than it saves


@dataclass(frozen=True)
class Ranking:
    """Clips of one student and class, at each threshold from the highest down.

    Attributes
    ----------
    positive : array of shape (thresholds, groups), sparse if it is large
        Clips the class applies to.
    negative : array of shape (thresholds + 1, groups)
        Clips it does not apply to, from this threshold up to the one before; last, those below all.
    tied : array of shape (thresholds, groups), or None
        Those at the threshold itself.
    """

    positive: np.ndarray | sparse.csr_array
    negative: np.ndarray | sparse.csr_array
    tied: np.ndarray | sparse.csr_array | None

    @classmethod
    def of(cls, scores: np.ndarray, applies: np.ndarray, group: np.ndarray, groups: int) -> Ranking:
        """Count the clips of a class: scores (n,), whether it applies (n,), and their groups (n,)."""
        thresholds = -np.unique(-scores[applies])
        place = np.searchsorted(-thresholds, -scores)
        at = thresholds[np.minimum(place, len(thresholds) - 1)] == scores

        def counts(rows: np.ndarray, size: int) -> np.ndarray | sparse.csr_array:
            if size * groups <= DENSE:
                cell = place[rows] * groups + group[rows]
                return np.bincount(cell, minlength=size * groups).reshape(size, groups).astype(np.float64)
            cells = (np.ones(int(rows.sum())), (place[rows], group[rows]))
            return sparse.coo_array(cells, shape=(size, groups)).tocsr()

        tied = at & ~applies
        return cls(
            counts(applies, len(thresholds)),
            counts(~applies, len(thresholds) + 1),
            counts(tied, len(thresholds)) if tied.any() else None,
        )

    def values(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and ROC-AUC for weights (groups, b); NaN where a side is empty.

        Average precision is ``sum_n (R_n - R_{n-1}) P_n``, without interpolation; a tie counts half for the AUC.
        """
        positive, negative = self.positive @ weights, self.negative @ weights
        found, passed = positive.cumsum(axis=0), negative.cumsum(axis=0)
        true, false = found[-1], passed[-1]
        above = passed[:-1]
        precision = np.divide(found, found + above, out=np.zeros_like(found), where=found > 0)
        worse = above if self.tied is None else above - (self.tied @ weights) / 2
        there = (true > 0) & (false > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            average = (positive * precision).sum(axis=0) / true
            area = 1 - (positive * worse).sum(axis=0) / (true * false)
        return np.where(there, average, np.nan), np.where(there, area, np.nan)


class Rankings:
    """All students and classes of some rows; a class needs clips it applies to and clips it does not."""

    def __init__(self, rows: Rows):
        self.of: list[list[Ranking | None]] = []
        for column in range(rows.classes):
            known = rows.known[:, column]
            self.of.append(
                [
                    self._ranking(rows, column, known & (rows.student == student))
                    for student in range(rows.student.max(initial=-1) + 1)
                ]
            )
        self._last: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None = None

    @staticmethod
    def _ranking(rows: Rows, column: int, chosen: np.ndarray) -> Ranking | None:
        applies = rows.truth[chosen, column] == 1
        if not 0 < applies.sum() < len(applies):
            return None
        return Ranking.of(rows.probabilities[chosen, column], applies, rows.group[chosen], rows.groups)

    def per_class(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and ROC-AUC, mean over students, each (classes, b)."""
        if self._last is not None and self._last[0] is weights:  # both metrics of the same replicates
            return self._last[1]
        averages: list[np.ndarray] = []
        areas: list[np.ndarray] = []
        for students in self.of:
            found = [ranking.values(weights) for ranking in students if ranking is not None]
            nothing = np.full((1, weights.shape[1]), np.nan)
            for side, values in enumerate((averages, areas)):
                each = np.stack([pair[side] for pair in found]) if found else nothing
                values.append(mean_where(each.T, ~np.isnan(each.T)))
        self._last = weights, (np.stack(averages), np.stack(areas))
        return self._last[1]

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Mean over classes, (b,)."""
        return self._macro(self.per_class(weights)[0])

    def roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """Mean over classes, one against the rest, (b,)."""
        return self._macro(self.per_class(weights)[1])

    @staticmethod
    def _macro(values: np.ndarray) -> np.ndarray:
        return mean_where(values.T, ~np.isnan(values.T))
