"""The metrics by name: which there are, which apply, and their values with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embcomp.errors import DataError, choose
from embcomp.metrics import counts, probabilities
from embcomp.metrics.bootstrap import draws, interval
from embcomp.metrics.ranks import Rankings
from embcomp.metrics.rows import Rows
from embcomp.metrics.score import Score

TOP = 3

OfWeights = Callable[[np.ndarray], np.ndarray]


class Bound:
    """Metrics of some rows as functions of the weights of their groups, (groups, b) to (b,); sums are made once."""

    def __init__(self, rows: Rows):
        self.rows = rows
        self._made: dict[str, Any] = {}

    def _once(self, name: str, make: Callable[[Rows], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make(self.rows)
        return self._made[name]

    def of_sums(self, name: str, make: Callable[[Rows], Any], finish: Callable[..., np.ndarray]) -> OfWeights:
        """A metric that `finish` computes from sums over groups."""
        sums = self._once(name, make)
        return lambda weights: finish(np.tensordot(weights, sums, axes=(0, 0)))

    def of_counts(self, finish: Callable[..., np.ndarray]) -> OfWeights:
        """A metric that `finish` computes from the counts of each class."""
        return self.of_sums("tallies", counts.tallies, finish)

    @property
    def ranks(self) -> Rankings:
        """The rankings of all students and classes."""
        return self._once("ranks", Rankings)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    single, multi : callable, or None
        From `Bound` to a function of weights, for one label per clip and for several; None where it does not apply.
    higher_is_better : bool
    graded : bool
        Needs probabilities, not only the class chosen.
    ranked : bool
        Compares clips with each other, so that only the order of their probabilities counts.
    fewest : int
        Classes it needs.
    scale : str, or None
        Range of its values, see `embcomp.metrics.bootstrap.interval`. None has no interval: the calibration error
        grows when clips are drawn twice.
    """

    single: Callable[[Bound], OfWeights] | None
    multi: Callable[[Bound], OfWeights] | None
    higher_is_better: bool = True
    graded: bool = False
    ranked: bool = False
    fewest: int = 2
    scale: str | None = "share"

    def of(self, multi_label: bool) -> Callable[[Bound], OfWeights] | None:
        """The form for the kind of labels."""
        return self.multi if multi_label else self.single


def _counted(finish: Callable[..., np.ndarray]) -> Callable[[Bound], OfWeights]:
    return lambda bound: bound.of_counts(finish)


def _mean_precision(bound: Bound) -> OfWeights:
    return lambda weights: bound.ranks.average_precision(weights)


def _area(bound: Bound) -> OfWeights:
    return lambda weights: bound.ranks.roc_auc(weights)


def _log_loss(bound: Bound) -> OfWeights:
    return bound.of_sums("log_loss", probabilities.log_losses, probabilities.mean_of_sums)


def _calibration(bound: Bound) -> OfWeights:
    return bound.of_sums("ece", probabilities.calibration_sums, probabilities.calibration_error)


def _top(k: int) -> Callable[[Bound], OfWeights]:
    return lambda bound: bound.of_sums(
        f"top {k}", lambda rows: probabilities.top_hits(rows, k), probabilities.mean_of_sums
    )


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_counted(counts.accuracy), _counted(counts.label_accuracy)),
    "balanced_accuracy": Metric(_counted(counts.balanced_accuracy), None),
    "macro_f1": Metric(_counted(counts.macro_f1), _counted(counts.macro_f1)),
    "micro_f1": Metric(_counted(counts.micro_f1), _counted(counts.micro_f1)),
    "two_sided_f1": Metric(None, _counted(counts.two_sided_f1)),
    "mAP": Metric(_mean_precision, _mean_precision, graded=True, ranked=True),
    "roc_auc": Metric(_area, _area, graded=True, ranked=True),
    f"top_{TOP}_accuracy": Metric(_top(TOP), None, graded=True, fewest=TOP + 1),
    "log_loss": Metric(_log_loss, _log_loss, higher_is_better=False, graded=True, scale="positive"),
    "ece": Metric(_calibration, _calibration, higher_is_better=False, graded=True, scale=None),
}


def applicable(classes: int, multi_label: bool, probabilities: bool = True) -> list[str]:
    """Metrics to report, in order.

    One label per clip leaves out ``micro_f1``, which is then the accuracy.

    Parameters
    ----------
    probabilities : bool, default=True
        Whether there are probabilities, or only the classes chosen.
    """
    return [
        name
        for name, metric in METRICS.items()
        if metric.of(multi_label) is not None
        and classes >= metric.fewest
        and (probabilities or not metric.graded)
        and (multi_label or name != "micro_f1")
    ]


def monitored(name: str, multi_label: bool) -> str:
    """The metric to choose settings by: `name`, or ``mAP`` where that is not one of several labels."""
    return name if choose("metric", name, METRICS).of(multi_label) is not None else "mAP"


def bind(name: str, bound: Bound) -> OfWeights:
    """A metric as a function of the weights of the groups of `bound`.

    Raises
    ------
    ConfigError
        There is no such metric.
    DataError
        It does not apply to these labels.
    """
    metric = choose("metric", name, METRICS)
    rows = bound.rows
    form = metric.of(rows.multi_label)
    if form is None or rows.classes < metric.fewest:
        kind = "several labels" if rows.multi_label else "one label"
        fitting = ", ".join(applicable(rows.classes, rows.multi_label))
        raise DataError(f"{name} is not for {kind} per clip of {rows.classes} classes; take one of: {fitting}")
    return form(bound)


def score(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    *,
    multi_label: bool = False,
    threshold: float = 0.5,
) -> float:
    """One metric.

    Class averages are over the classes that occur in `truth`: on a further data set some of the student's
    classes have no clip. Predictions of such classes still count as errors. ``mAP``, ``roc_auc`` and
    ``two_sided_f1`` need clips that a class applies to and clips that it does not.

    Parameters
    ----------
    name : str
        One of `METRICS`.
    truth : ndarray of int of shape (n,), or (n, classes)
        Class numbers, or 1, 0 and NaN for unknown.
    predicted : ndarray of int of shape (n,), or (n, classes)
        Class numbers, or probabilities.
    classes : int
    multi_label : bool, default=False
        Whether a clip may have several labels, or none.
    threshold : float, default=0.5
        Multi-label: a class is predicted from this probability on.

    Returns
    -------
    float
        NaN where there is nothing to score.
    """
    rows = Rows.of(truth, predicted, classes, multi_label=multi_label, threshold=threshold)
    function = bind(name, Bound(rows))
    with np.errstate(invalid="ignore"):  # without clips
        return float(function(np.ones((rows.groups, 1)))[0])


def scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    classes: int,
    *,
    students: np.ndarray | None = None,
    multi_label: bool = False,
    threshold: float = 0.5,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    clips: int | None = None,
) -> list[Score]:
    """Every metric that applies, with a bootstrap interval that resamples whole groups.

    Clips of one group (a speaker, a machine) are not independent: resampling
    clips would give intervals that are too narrow. See `embcomp.metrics.bootstrap.interval` for how the ends are
    found, and docs/choices.md for how often such an interval holds the truth.

    Parameters
    ----------
    truth, predicted : ndarray of int of shape (n,), or (n, classes)
        As for `score`. The same clip may occur several times, once for each student tested on it.
    groups : ndarray of shape (n,)
    students : ndarray of shape (n,), optional
        Whose prediction each row is: ``mAP`` and ``roc_auc`` rank a student's clips among themselves
        and are averaged over students, for different students' probabilities are not on one scale.
    clips : int, optional
        Number of different clips, to be reported; by default n.

    Raises
    ------
    DataError
        Lengths differ, a class number is out of range, or a probability is not one.
    """
    rows = Rows.of(truth, predicted, classes, groups, students, multi_label, threshold)
    chosen_only = np.ndim(predicted) == 1
    return measured(rows, bootstrap=bootstrap, confidence=confidence, seed=seed, clips=clips, chosen_only=chosen_only)


def measured(
    rows: Rows,
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    clips: int | None = None,
    chosen_only: bool = False,
) -> list[Score]:
    """What `scores` returns, of arrays put together already."""
    names = applicable(rows.classes, rows.multi_label, probabilities=not chosen_only)
    clips = len(rows) if clips is None else clips
    if len(rows) == 0:
        return [Score(name, float("nan"), n=0, higher_is_better=METRICS[name].higher_is_better) for name in names]
    bound = Bound(rows)
    once, resampled = np.ones((rows.groups, 1)), draws(rows.groups, bootstrap, seed)
    found = []
    for name in names:
        metric, about = bind(name, bound), METRICS[name]
        value, ends = float(metric(once)[0]), (float("nan"), float("nan"))
        if rows.groups > 1 and about.scale is not None:
            ends = interval(value, metric(resampled), rows.groups, confidence, about.scale)
        found.append(Score(name, value, *ends, clips, about.higher_is_better))
    return found
