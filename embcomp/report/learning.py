"""How students learned: validation scores by step, and whether the training was long enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from embcomp.report import charts
from embcomp.report.blocks import Figure, Section, Table, Text
from embcomp.report.reading import Source

LEAST_GAIN = 0.003  # of the validation score in the last fifth of a training; less is not worth mentioning


def learning(sources: list[Source]) -> Section | None:
    """Validation score by step of every student, one panel for each variant."""
    panels, rows, rising = [], [], []
    tables = [source for source in sources if source.history is not None and "validation_score" in source.history]
    tables = [source for source in tables if source.history["validation_score"].notna().any()]
    if not tables:
        return None
    together = pd.concat([source.history for source in tables])
    scales = tuple((float(together[name].min()), float(together[name].max())) for name in ("step", "validation_score"))
    for source in tables:
        for variant, part in source.history.groupby("variant", sort=False):
            lines, marks = [], []
            for _, one in part.dropna(subset="validation_score").groupby(["seed", "fold"], sort=False):
                lines.append(list(zip(one["step"], one["validation_score"])))
                marks.append(max(lines[-1], key=lambda point: point[1]))
            if not lines:
                continue
            name = source.prefix + variant
            panels.append(charts.traces(name, lines, marks, scales, "step"))
            steps, scores = zip(*marks)
            if (gain := late_gain(lines)) is not None:
                rising.append(f"{name} (+{gain:.3f})")
            rows.append((name, f"{len(lines)}", f"{np.median(steps):.0f}", f"{np.mean(scores):.3f}", _terms(part)))
    caption = (
        "Score on validation clips while training, one line for each fold and seed; the mark is the step that was "
        "kept. These scores chose the step, so they are higher than what new clips would give."
    )
    head = ("variant", "students", "median best step", "mean best score", "last loss terms, mean")
    figure = Figure(tuple(panels[:24]), caption, Table(head, tuple(rows), folded=True))
    return Section("How they learned", (*_advice(rising), figure))


def late_gain(lines: Sequence[Sequence[tuple[float, float]]]) -> float | None:
    """How much students still improved when their training ended; None where that is within the noise.

    The mean score of the last fifth of each training's evaluations, minus that of the fifth before, has to exceed
    `LEAST_GAIN` and twice its standard error over trainings.

    Parameters
    ----------
    lines : sequence of sequences of (step, score)
        One for each training, by step.

    Examples
    --------
    >>> rising = [(step, step / 100) for step in range(10, 101, 10)]
    >>> round(late_gain([rising, rising]), 3)
    0.2
    >>> late_gain([[(step, 0.5) for step in range(10)]] * 2) is None
    True
    """
    gains = []
    for line in lines:
        scores = [score for _, score in line]
        fifth = len(scores) // 5
        if fifth:
            gains.append(np.mean(scores[-fifth:]) - np.mean(scores[-2 * fifth : -fifth]))
    if len(gains) < 2:
        return None
    mean, error = float(np.mean(gains)), float(np.std(gains, ddof=1) / math.sqrt(len(gains)))
    return mean if mean > max(LEAST_GAIN, 2 * error) else None


def _advice(rising: Sequence[str]) -> tuple[Text, ...]:
    if not rising:
        return ()
    return (
        Text(
            f"Still improving when training ended: {', '.join(rising)}. In brackets is the gain of the last fifth of the "
            "training on validation clips; raise training.steps.",
        ),
    )


def _terms(part: pd.DataFrame) -> str:
    last = part.groupby(["seed", "fold"], sort=False).last()
    skip = ("variant", "step", "learning_rate", "validation_score")
    terms = [name for name in last.columns if name not in skip and last[name].notna().any()]
    return ", ".join(f"{name} {last[name].mean():.3g}" for name in terms)
