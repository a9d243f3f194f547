"""Scores that know their direction, with intervals that resample groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embcomp.errors import DataError, choose


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


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (truth, predicted), shape (classes, classes).

    Parameters
    ----------
    truth, predicted : ndarray of int of shape (n,)
    """
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    true = counts.sum(axis=-1)
    recall = np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(true, 1e-12)
    return recall.sum(axis=-1) / np.maximum((true > 0).sum(axis=-1), 1)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    true, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    f1 = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(true + predicted, 1e-12)
    return (f1 * (true > 0)).sum(axis=-1) / np.maximum((true > 0).sum(axis=-1), 1)


METRICS = {"accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy, "macro_f1": _macro_f1}


def score(name: str, truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """One metric of class predictions.

    ``balanced_accuracy`` and ``macro_f1`` average over the classes that occur in
    `truth`: on a further data set some of the student's classes have no clip.
    Predictions of such classes still count as errors.

    Parameters
    ----------
    name : {"accuracy", "balanced_accuracy", "macro_f1"}
    truth, predicted : ndarray of int of shape (n,)
    classes : int
    """
    if len(truth) == 0:
        return float("nan")
    return float(choose("metric", name, METRICS)(confusion(truth, predicted, classes)))


def scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    classes: int,
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    clips: int | None = None,
) -> list[Score]:
    """Every metric, with a percentile bootstrap interval that resamples whole groups.

    Clips of one group (a speaker, a machine) are not independent: resampling
    clips would give intervals that are too narrow.

    Parameters
    ----------
    truth, predicted : ndarray of int of shape (n,)
        The same clip may occur several times, once for each student that saw it.
    groups : ndarray of shape (n,)
    clips : int, optional
        Number of different clips, to be reported; by default n.

    Raises
    ------
    DataError
        Lengths differ, or a class number is out of range.
    """
    if not len(truth) == len(predicted) == len(groups):
        raise DataError(
            f"truth, predictions and groups differ in length: {len(truth)}, {len(predicted)}, {len(groups)}"
        )
    if len(truth) and not 0 <= min(truth.min(), predicted.min()) <= max(truth.max(), predicted.max()) < classes:
        raise DataError(f"class numbers must lie in 0..{classes - 1}")
    clips = len(truth) if clips is None else clips
    if len(truth) == 0:
        return [Score(name, float("nan"), n=0) for name in METRICS]
    names, group = np.unique(groups.astype(str), return_inverse=True)
    by_group = np.zeros((len(names), classes, classes))
    np.add.at(by_group, (group, truth, predicted), 1.0)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstrap)
    resampled = (draws @ by_group.reshape(len(names), -1)).reshape(bootstrap, classes, classes)
    tail = (1 - confidence) / 2
    found = []
    for name, metric in METRICS.items():
        low, high = np.quantile(metric(resampled), [tail, 1 - tail]) if len(names) > 1 else (np.nan, np.nan)
        found.append(Score(name, float(metric(by_group.sum(axis=0))), float(low), float(high), clips))
    return found
