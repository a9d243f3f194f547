"""A number that knows its direction."""

from __future__ import annotations

from dataclasses import dataclass


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
