"""Average precision and ROC-AUC, exact for any weights of the groups.

Both need only the thresholds at which there is a clip that the class applies to. For each, the clips it applies to and those
it does not are counted by group once; a bootstrap replicate is then a product with its weights. A thousand
replicates cost what the counts do, whatever the number of groups.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from embcomp.metrics.counts import mean_where
from embcomp.metrics.rows import Rows

DENSE = 4096  # cells; up to so many a sparse array takes longer to make than it saves
TOGETHER = 1 << 16  # cells of thresholds and replicates that are worked on at a time


@dataclass(frozen=True)
class Ranking:
    """Clips of one student and class, at each threshold from the highest down; of many clips or groups sparse.

    Attributes
    ----------
    positive : array of shape (thresholds, groups)
        Clips the class applies to.
    negative : array of shape (thresholds + 1, groups)
        Clips it does not apply to, from this threshold up to the one before; last, those below all.
    tied : array of shape (thresholds, groups), or None
        Those at the threshold itself.
    """

    positive: Any
    negative: Any
    tied: Any

    @classmethod
    def of(cls, scores: np.ndarray, applies: np.ndarray, group: np.ndarray, groups: int) -> Ranking:
        """Count the clips of a class: scores (n,), whether it applies (n,), and their groups (n,)."""
        thresholds = -np.unique(-scores[applies])
        place = np.searchsorted(-thresholds, -scores)
        at = thresholds[np.minimum(place, len(thresholds) - 1)] == scores
        dense = (len(thresholds) + 1) * groups <= DENSE

        def counts(rows: np.ndarray, size: int) -> np.ndarray | sparse.csr_array:
            if dense:
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

    @property
    def dense(self) -> bool:
        """Whether counts are ordinary arrays."""
        return isinstance(self.positive, np.ndarray)

    @property
    def thresholds(self) -> int:
        """How many there are."""
        return self.positive.shape[0]

    @functools.cached_property
    def summed(self) -> tuple[np.ndarray, ...]:
        """Of dense counts: clips from each threshold on that the class applies to, that it does not; ties counted half.

        Sums of counts are exact, so that it is the same whether they are taken before the weights or after.
        """
        found, passed = self.positive.cumsum(axis=0), self.negative.cumsum(axis=0)
        tied = np.zeros_like(found) if self.tied is None else self.tied / 2
        return found, passed[:-1], tied, passed[-1:]

    def weighted(self, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """What `summed` has, for weights (groups, b)."""
        found, passed = (self.positive @ weights).cumsum(axis=0), (self.negative @ weights).cumsum(axis=0)
        tied = np.zeros((1, 1)) if self.tied is None else (self.tied @ weights) / 2
        return found, passed[:-1], tied, passed[-1:]


def _weighted_together(rankings: Sequence[Ranking], weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """`Ranking.weighted` of dense ones, below each other."""
    found, above, tied, false = (np.concatenate(parts) for parts in zip(*(one.summed for one in rankings)))
    ties = tied.any()
    rows = np.concatenate([found, above, false, *([tied] if ties else [])])
    parts = np.split(rows @ weights, np.cumsum([len(found), len(above), len(false)]))
    return parts[0], parts[1], parts[3] if ties else np.zeros((1, 1)), parts[2]


def _values(parts: tuple[np.ndarray, ...], sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and ROC-AUC of rankings of so many thresholds each, (rankings, b); NaN where a side is empty.

    Average precision is ``sum_n (R_n - R_{n-1}) P_n``, without interpolation; a tie counts half for the AUC.
    """
    found, above, tied, false = parts
    counts = np.asarray(sizes, dtype=np.int64)
    ends = np.cumsum(counts)
    starts, true = ends - counts, found[ends - 1]
    positive = np.diff(found, axis=0, prepend=0.0)
    positive[starts] = found[starts]
    precision = np.divide(found, found + above, out=np.zeros_like(found), where=found > 0)
    there = (true > 0) & (false > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        average = np.add.reduceat(positive * precision, starts, axis=0) / true
        area = 1 - np.add.reduceat(positive * (above - tied), starts, axis=0) / (true * false)
    return np.where(there, average, np.nan), np.where(there, area, np.nan)


class Rankings:
    """All students and classes of some rows; a class needs clips it applies to and clips it does not."""

    def __init__(self, rows: Rows):
        self.classes = rows.classes
        self.of: list[tuple[int, Ranking]] = []
        for column in range(rows.classes):
            known = rows.known[:, column]
            for student in range(rows.student.max(initial=-1) + 1):
                chosen = known & (rows.student == student)
                applies = rows.truth[chosen, column] == 1
                if 0 < applies.sum() < len(applies):
                    scores, group = rows.probabilities[chosen, column], rows.group[chosen]
                    self.of.append((column, Ranking.of(scores, applies, group, rows.groups)))
        self._last: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None = None

    def per_class(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and ROC-AUC, mean over students, each (classes, b)."""
        if self._last is not None and self._last[0] is weights:  # both metrics of the same replicates
            return self._last[1]
        found = [
            _values(self._weighted(some, weights), [one.thresholds for one in some]) for some in self._batches(weights)
        ]
        of_class = np.array([column for column, _ in self.of], dtype=np.int64)
        each = []
        for side in range(2):
            values = np.concatenate([pair[side] for pair in found]) if found else np.empty((0, weights.shape[1]))
            means = [values[of_class == column].T for column in range(self.classes)]
            each.append(np.stack([mean_where(one, ~np.isnan(one)) for one in means]))
        self._last = weights, (each[0], each[1])
        return self._last[1]

    def _batches(self, weights: np.ndarray) -> Iterator[list[Ranking]]:
        """Rankings in order: small ones together, for each array costs more than what is in it."""
        batch: list[Ranking] = []
        cells = 0
        for _, one in self.of:
            size = one.thresholds * weights.shape[1]
            if batch and (cells + size > TOGETHER or not one.dense or not batch[-1].dense):
                yield batch
                batch, cells = [], 0
            batch.append(one)
            cells += size
        if batch:
            yield batch

    @staticmethod
    def _weighted(batch: list[Ranking], weights: np.ndarray) -> tuple[np.ndarray, ...]:
        return _weighted_together(batch, weights) if batch[0].dense else batch[0].weighted(weights)

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Mean over classes, (b,)."""
        return self._macro(self.per_class(weights)[0])

    def roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """Mean over classes, one against the rest, (b,)."""
        return self._macro(self.per_class(weights)[1])

    @staticmethod
    def _macro(values: np.ndarray) -> np.ndarray:
        return mean_where(values.T, ~np.isnan(values.T))
