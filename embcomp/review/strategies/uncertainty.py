"""Clips of which the student is least sure."""

from __future__ import annotations

import numpy as np

from embcomp.review.pool import Pool
from embcomp.review.strategies.base import Strategy, both_sides, entropy, most


class Uncertainty(Strategy):
    """Uncertainty sampling.

    ``margin`` is 1 minus the difference between the two largest probabilities (Scheffer, Decomain and Wrobel 2001),
    ``entropy`` is that of the probabilities (nats), ``least-confident`` 1 minus the largest probability (Lewis and
    Gale 1994). Of several labels a clip each class is a question of its own, yes or no: margin and least-confident
    take the least sure of them, entropy the mean over all.
    """

    name = "uncertainty"
    summary = "clips of which the student is least sure"
    measures = ("margin", "entropy", "least-confident")

    def scores(self, pool: Pool) -> np.ndarray:
        each = np.asarray(pool.probabilities[0], dtype=np.float64)
        if pool.multi_label:
            sides = both_sides(each)
            if self.measure == "entropy":
                return entropy(sides).mean(axis=1)
            least = np.abs(each - 0.5).min(axis=1)
            return 1.0 - 2.0 * least if self.measure == "margin" else 0.5 - least
        if self.measure == "entropy":
            return entropy(each)
        second, first = np.partition(each, -2, axis=1)[:, -2:].T
        return 1.0 - (first - second) if self.measure == "margin" else 1.0 - first

    def why(self, pool: Pool, row: int, score: float) -> str:
        each, names = pool.probabilities[0][row], pool.classes
        if pool.multi_label:
            if self.measure == "entropy":
                return f"mean entropy {score:.3f} of at most {most(2):.3f} nats"
            nearest = int(np.abs(each - 0.5).argmin())
            return f"{names[nearest]} {each[nearest]:.2f}, close to 0.5"
        second, first = np.argsort(each, kind="stable")[-2:]
        if self.measure == "entropy":
            return f"entropy {score:.3f} of at most {most(len(names)):.3f} nats"
        if self.measure == "margin":
            return f"{names[first]} {each[first]:.2f} or {names[second]} {each[second]:.2f}"
        return f"{names[first]}, at only {each[first]:.2f}"
