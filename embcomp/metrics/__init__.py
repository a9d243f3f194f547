"""Scores that know their direction, with intervals that resample groups."""

from __future__ import annotations

from embcomp.metrics.counts import confusion
from embcomp.metrics.rows import Rows
from embcomp.metrics.score import Score
from embcomp.metrics.table import METRICS, Bound, Metric, applicable, bind, measured, monitored, score, scores

__all__ = [
    "METRICS",
    "Bound",
    "Metric",
    "Rows",
    "Score",
    "applicable",
    "bind",
    "confusion",
    "measured",
    "monitored",
    "score",
    "scores",
]
