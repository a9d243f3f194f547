"""A number that knows its direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """One measured number.

    Attributes
    ----------
    name : str
    value : float
    low, high : float
        Interval by bootstrap over groups; NaN with a single group.
    n : int
        Clips it rests on.
    higher_is_better : bool
    """

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    higher_is_better: bool = True

    def better_than(self, other: Score | None) -> bool:
        """Whether this score beats `other` (None is beaten by anything that is a number)."""
        if other is None or np.isnan(other.value):
            return not np.isnan(self.value)
        return self.value > other.value if self.higher_is_better else self.value < other.value
