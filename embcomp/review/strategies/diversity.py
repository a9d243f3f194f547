"""Clips that are far from all that is labelled, and from each other."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from embcomp.review.pool import Budget, Pool
from embcomp.review.strategies.base import Pick, Strategy


class Diversity(Strategy):
    """Farthest first in the student's embedding, by Euclidean distance (greedy k-centre: Gonzalez 1985).

    As in Sener and Savarese (2018, their algorithm 1), clips with a label count as chosen. Where there is none, the
    first is the clip nearest to the mean of all.
    """

    name = "diversity"
    summary = "clips far from all labelled ones and from each other, in the student's embedding"
    uses_labelled = True

    def picks(self, pool: Pool, budget: Budget) -> Iterator[Pick]:
        rows = np.asarray(pool.embeddings, dtype=np.float64)
        nearest = self.scores(pool)
        if not len(pool.known):
            centre = _distances(rows, rows.mean(axis=0))
            first = int(np.where(budget.allows, centre, math.inf).argmin())
            if not budget.allows[first]:
                return
            yield Pick(first, math.nan, "nearest to the mean of all clips, as none is labelled")
            nearest = np.minimum(nearest, _distances(rows, rows[first]))
        while budget.allows.any():
            row = int(np.where(budget.allows, nearest, -math.inf).argmax())
            yield Pick(row, float(nearest[row]), self.why(pool, row, float(nearest[row])))
            nearest = np.minimum(nearest, _distances(rows, rows[row]))

    def scores(self, pool: Pool) -> np.ndarray:
        """Distance of each candidate to the nearest clip with a label; infinite where there is none."""
        rows = np.asarray(pool.embeddings, dtype=np.float64)
        if not len(pool.known):
            return np.full(len(rows), math.inf)
        from sklearn.metrics import pairwise_distances_argmin_min

        return pairwise_distances_argmin_min(rows, np.asarray(pool.known, dtype=np.float64))[1]

    def why(self, pool: Pool, row: int, score: float) -> str:
        return f"distance {score:.3g} from the nearest clip labelled or suggested"


def _distances(rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(rows - centre).sum(axis=1))
