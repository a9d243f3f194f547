"""Clips on which several students disagree."""

from __future__ import annotations

from collections import Counter

import numpy as np

from embcomp.review.pool import Pool
from embcomp.review.strategies.base import Strategy, both_sides, entropy


class Disagreement(Strategy):
    """Query by committee.

    ``jensen-shannon`` is the mean Kullback-Leibler divergence of each student's probabilities from their mean (McCallum
    and Nigam 1998), which is the entropy of the mean minus the mean entropy, nats. ``votes`` is the entropy of the
    students' votes (Dagan and Engelson 1995), nats. Of several labels a clip both are taken for each class, yes or
    no, and averaged.
    """

    name = "disagreement"
    summary = "clips on which several students disagree (--students)"
    measures = ("jensen-shannon", "votes")
    least_students = 2

    def scores(self, pool: Pool) -> np.ndarray:
        each = np.stack(pool.probabilities).astype(np.float64)  # (students, n, classes)
        if self.measure == "votes":
            if pool.multi_label:
                return entropy(both_sides((each >= 0.5).mean(axis=0))).mean(axis=1)
            votes = np.eye(each.shape[-1])[each.argmax(axis=-1)]
            return entropy(votes.mean(axis=0))
        if pool.multi_label:
            each = both_sides(each)
        found = entropy(each.mean(axis=0)) - entropy(each).mean(axis=0)
        found = np.maximum(found, 0.0)  # rounding may leave a little less
        return found.mean(axis=1) if pool.multi_label else found

    def why(self, pool: Pool, row: int, score: float) -> str:
        if pool.multi_label:
            spread = np.ptp([each[row] for each in pool.probabilities], axis=0)
            worst = int(spread.argmax())
            low, high = sorted(float(each[row, worst]) for each in pool.probabilities)[:: len(pool.probabilities) - 1]
            return f"{pool.classes[worst]} between {low:.2f} and {high:.2f}"
        votes = Counter(pool.classes[int(each[row].argmax())] for each in pool.probabilities)
        said = ", ".join(f"{name} {count}" for name, count in votes.most_common())
        return f"votes: {said}" if len(votes) > 1 else f"all say {said.rpartition(' ')[0]}, with other probabilities"
