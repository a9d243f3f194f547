"""What a strategy is: it orders the clips without a label, the one that is worth most first."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embcomp.errors import ConfigError, choose
from embcomp.review.pool import Budget, Pool


@dataclass(frozen=True)
class Pick:
    """A clip that is suggested.

    Attributes
    ----------
    row : int
        Among the candidates of the pool.
    score : float
        Higher is picked earlier; NaN where the strategy has none.
    why : str
        In words.
    """

    row: int
    score: float
    why: str


class Strategy(ABC):
    """A way to choose clips.

    Parameters
    ----------
    measure : str
        One of `measures`; by default the first.

    Attributes
    ----------
    name, summary : str
    measures : tuple of str
        What its score may be; empty where there is no choice.
    least_students : int
        How many students it needs.
    uses_labelled, uses_like : bool
        Whether it needs the embeddings of clips with a label, or of given examples.
    """

    name: str
    summary: str
    measures: tuple[str, ...] = ()
    least_students: int = 1
    uses_labelled: bool = False
    uses_like: bool = False

    def __init__(self, measure: str = ""):
        if measure and not self.measures:
            raise ConfigError(f"--measure is not for --by {self.name}, which has one measure alone")
        table = {name: name for name in self.measures}
        self.measure = choose(f"measure of {self.name}", measure, table) if measure else next(iter(table), "")

    def picks(self, pool: Pool, budget: Budget) -> Iterator[Pick]:
        """Clips in the order in which they are worth a label, as far as the budget allows.

        The caller takes each from the budget before it asks for the next.
        """
        scores = self.scores(pool)
        for row in np.argsort(-scores, kind="stable").tolist():
            if budget.allows[row]:
                yield Pick(row, float(scores[row]), self.why(pool, row, float(scores[row])))

    @abstractmethod
    def scores(self, pool: Pool) -> np.ndarray:
        """Score of each candidate, (n,); higher is picked earlier."""

    @abstractmethod
    def why(self, pool: Pool, row: int, score: float) -> str:
        """Why this clip, in words."""


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Shannon entropy over the last axis, nats; 0 log 0 is 0.

    Examples
    --------
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(3) + 0.0
    array([0.693, 0.   ])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)


def both_sides(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (..., classes) that a class applies, as distributions (..., classes, 2) of whether it does."""
    p = np.asarray(probabilities, dtype=np.float64)
    return np.stack([p, 1.0 - p], axis=-1)


def most(classes: int) -> float:
    """The largest entropy of so many classes, nats."""
    return math.log(classes)
