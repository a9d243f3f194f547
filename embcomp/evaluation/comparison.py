"""Are two variants different? Paired intervals and tests that resample and swap whole groups."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from embcomp.errors import DataError, choose
from embcomp.evaluation.scores import Predictions, as_rows
from embcomp.metrics import METRICS, Bound, Rows, bind, monitored
from embcomp.metrics.bootstrap import draws, interval

COLUMNS = (
    "variant",
    "baseline",
    "metric",
    "difference",
    "low",
    "high",
    "p",
    "p_corrected",
    "p_smallest",
    "n_groups",
    "n_clips",
)
NAMED = 3  # pairs without a supported difference that a sentence names
LEVEL = 0.05
AT_ONCE = 1000  # swaps in memory
RANKED_SWAPS = 1000  # what ranking metrics, which are slower, are given at most


def compare(
    predictions: Mapping[str, Sequence[Predictions]],
    baseline: str,
    metric: str | None = None,
    *,
    all_pairs: bool = False,
    correction: str = "holm",
    threshold: float = 0.5,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare variants on the same clips, group by group.

    The interval is of the difference of the pooled metric: both variants are resampled with the same groups. The
    p-value is that of swapping the two variants' predictions of whole groups, a sign-flip test whose statistic is
    the difference of the metric itself (Fisher's randomisation test): every way of swapping where there are no more
    than `permutations`, else that many at random. It asks whether the variants are exchangeable within groups. The
    students of several seeds and folds are pooled: what is said holds for other groups, and for these students.

    Parameters
    ----------
    predictions : mapping of str to sequence of Predictions
        For each variant one per student; the k-th of every variant on the same clips, with the same seed and fold.
    baseline : str
        The variant that the others are compared with.
    metric : str, optional
        By default balanced accuracy, or mAP where clips have several labels.
    all_pairs : bool, default=False
        Also the others with each other.
    correction : {"holm", "benjamini_hochberg", "none"}
        For the comparisons of this call. Holm 1979 bounds the chance of any false claim, Benjamini & Hochberg 1995
        the share of false ones among the claims.
    threshold : float, default=0.5
        Several labels: a class is predicted from this probability on.
    bootstrap, permutations : int
        Ranking metrics (mAP, ROC-AUC) are given at most `RANKED_SWAPS` random swaps.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. `difference` is variant minus baseline; `p_smallest` is the smallest corrected p that so
        few groups allow.

    Raises
    ------
    ConfigError
        An unknown variant, metric or correction.
    DataError
        Two variants were not scored on the same clips with the same truth.

    Examples
    --------
    >>> compare({"none": none, "compressed": ours}, "none")    # doctest: +SKIP
    """
    correct = choose("correction", correction, CORRECTIONS)
    choose("variant", baseline, predictions)
    names = [baseline, *(name for name in predictions if name != baseline)]
    pairs = list(itertools.combinations(names, 2)) if all_pairs else [(baseline, name) for name in names[1:]]
    rows = [
        {
            "variant": variant,
            "baseline": other,
            **_compared(
                _Pair.of(variant, predictions[variant], other, predictions[other], metric, threshold),
                (bootstrap, confidence, permutations, seed),
            ),
        }
        for other, variant in pairs
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_corrected"] = correct(table["p"].to_numpy(float))
    table["p_smallest"] = np.minimum(1.0, table["p_smallest"] * (len(table) if correction == "holm" else 1))
    return table


@dataclass(frozen=True)
class _Pair:
    """Two variants on the same clips, as one function of the groups' weights.

    Attributes
    ----------
    metric : str
    of_weights : callable
        Weights (2 * groups, b), those of the first variant's predictions before the second's, to the metric (b,).
    groups, clips : int
    """

    metric: str
    of_weights: Callable[[np.ndarray], np.ndarray]
    groups: int
    clips: int

    @classmethod
    def of(cls, variant, pieces, other, others, metric, threshold) -> _Pair:
        pieces, others = _aligned(variant, pieces, other, others)
        first, second = as_rows(pieces, threshold), as_rows(others, threshold)
        name = metric or monitored("balanced_accuracy", first.multi_label)
        if choose("metric", name, METRICS).ranked:
            # Swapped predictions are ranked with the other variant's: on one scale, and no order is changed.
            first, second = _as_ranks(first), _as_ranks(second)
        both = Rows(
            np.concatenate([first.truth, second.truth]),
            np.concatenate([first.probabilities, second.probabilities]),
            np.concatenate([first.group, second.group + first.groups]),
            2 * first.groups,
            np.concatenate([first.student, second.student]),
            first.multi_label,
            threshold,
        )
        clips = len(set(np.concatenate([piece.ids for piece in pieces])))
        return cls(name, bind(name, Bound(both)), first.groups, clips)

    def difference(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """First less second, where the first takes its own predictions with `first` and the other's with `second`."""
        return self.of_weights(np.concatenate([first, second])) - self.of_weights(np.concatenate([second, first]))


def _aligned(variant, pieces, other, others) -> tuple[list[Predictions], list[Predictions]]:
    """Both with the clips of each student in one order."""
    if len(pieces) != len(others) or not pieces:
        raise DataError(
            f"{variant!r} has predictions of {len(pieces)} students and {other!r} of {len(others)}; "
            "paired comparisons need the same seeds and folds of both"
        )
    sorted_pieces = [[_sorted(piece) for piece in part] for part in (pieces, others)]
    for number, (one, two) in enumerate(zip(*sorted_pieces)):
        same = list(one.ids) == list(two.ids) and one.classes == two.classes and one.multi_label == two.multi_label
        same = same and list(one.groups) == list(two.groups) and np.array_equal(one.truth, two.truth, equal_nan=True)
        if not same:
            raise DataError(
                f"student {number + 1} of {variant!r} and of {other!r} were not scored on the same clips, groups, "
                "labels and classes; score both on one manifest, and give them in the same order"
            )
    return sorted_pieces[0], sorted_pieces[1]


def _sorted(piece: Predictions) -> Predictions:
    order = np.argsort(piece.ids.astype(str), kind="stable")
    parts = {name: getattr(piece, name)[order] for name in ("ids", "groups", "truth", "probabilities")}
    return replace(piece, **parts)


def _as_ranks(rows: Rows) -> Rows:
    from scipy.stats import rankdata

    ranks = np.empty_like(rows.probabilities)
    for student in np.unique(rows.student):
        own = rows.student == student
        ranks[own] = rankdata(rows.probabilities[own], axis=0) / own.sum()
    return replace(rows, probabilities=ranks)


def _compared(pair: _Pair, settings: tuple[int, float, int, int]) -> dict:
    bootstrap, confidence, permutations, seed = settings
    groups = pair.groups
    none = np.zeros((groups, 1))
    difference = float(pair.difference(none + 1, none)[0])
    resampled = draws(groups, bootstrap, seed)
    low, high = interval(difference, pair.difference(resampled, np.zeros_like(resampled)), groups, confidence, "any")
    if METRICS[pair.metric].ranked:
        permutations = min(permutations, RANKED_SWAPS)
    exact = groups <= 1 or 2 ** (groups - 1) <= permutations
    # A swap that gives the same difference but for rounding counts as no smaller.
    extreme, tried = 0, 0
    for swapped in _swaps(groups, permutations, exact, seed):
        found = np.abs(pair.difference(1 - swapped, swapped))
        extreme += int((found >= abs(difference) - 1e-9).sum())
        tried += int((~np.isnan(found)).sum())
    p = float("nan") if np.isnan(difference) else extreme / tried if exact else (extreme + 1) / (tried + 1)
    smallest = 2.0 ** (1 - groups) if exact else 1 / (permutations + 1)
    return {
        "metric": pair.metric,
        "difference": difference,
        "low": low,
        "high": high,
        "p": p,
        "p_smallest": smallest,
        "n_groups": groups,
        "n_clips": pair.clips,
    }


def _swaps(groups: int, permutations: int, exact: bool, seed: int) -> Iterator[np.ndarray]:
    """Which groups are swapped, 0 or 1, (groups, up to AT_ONCE) at a time.

    Swapping the others instead only turns the sign, so of each such two ways one is tried: the last group stays.
    """
    rng = np.random.default_rng(seed)
    total = 2 ** max(groups - 1, 0) if exact else permutations
    for first in range(0, total, AT_ONCE):
        numbers = np.arange(first, min(first + AT_ONCE, total))
        if exact:
            yield ((numbers >> np.arange(groups)[:, None]) & 1).astype(np.float64)
        else:
            yield rng.integers(2, size=(groups, len(numbers))).astype(np.float64)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of p-values (n,); NaN stays and does not count."""
    found, known = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return found


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's step-up correction of p-values (n,); NaN stays and does not count."""
    found, known = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * len(order) / np.arange(1, len(order) + 1)
    found[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return found


CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
    "none": lambda p: p.copy(),
}


def sentence(table: pd.DataFrame, unit: str = "group") -> str:
    """What the comparisons support, in one sentence; p below .05 after the correction counts.

    It speaks of the students compared: groups are resampled, trainings are not.

    Parameters
    ----------
    table : DataFrame
        What `compare` returned.
    unit : {"group", "file", "clip"}
        What the groups are: files or single clips, where none are given.
    """
    table = table[table["p"].notna()]
    if table.empty:
        return "Nothing could be compared: it takes two variants and a metric defined on these clips."
    metric, groups, clips = table["metric"].iloc[0], table["n_groups"].iloc[0], table["n_clips"].iloc[0]
    resampled = f"{groups} {unit}{'s' if groups != 1 else ''}"
    scored = f"{_words(metric)} over {resampled}" + ("" if unit == "clip" else f" ({clips} clips)")
    if unit != "group":
        scored += ", no groups given"
    supported = table[table["p_corrected"] < LEVEL]
    if supported.empty:
        most = table.loc[table["difference"].abs().idxmax()]
        largest = f"the largest difference measured: {_difference(most)}"
        smallest = table["p_smallest"].min()
        if smallest >= LEVEL:
            few = resampled + ("" if len(table) == 1 else f" and {len(table)} comparisons")
            return (
                f"No difference in {scored} can be supported: with {few} no p can fall below {smallest:.2g}; {largest}."
            )
        return f"No difference in {scored} is supported: {largest}."
    claims = "; ".join(_difference(row) for _, row in supported.iterrows())
    others = table[~table.index.isin(supported.index)]
    named = ", ".join(f"{row['variant']!r} and {row['baseline']!r}" for _, row in others.iterrows())
    rest = f"in the other {len(others)} comparisons" if len(others) > NAMED else f"between {named}"
    end = f"; no difference is supported {rest}" if len(others) else ""
    # Groups are resampled, trainings are not: another seed is a draw that these p know nothing of.
    return f"In {scored}, of the students trained here, {claims}{end}."


def _difference(row: pd.Series) -> str:
    better = (row["difference"] > 0) == METRICS[row["metric"]].higher_is_better
    side = "better" if better else "worse"
    between = "" if np.isnan(row["low"]) else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    if row["difference"] == 0:
        return f"none at all between {row['variant']!r} and {row['baseline']!r}"
    return (
        f"{row['variant']!r} is {side} than {row['baseline']!r} by {abs(row['difference']):.3f}{between}, "
        f"p = {row['p_corrected']:.2g}"
    )


def _words(metric: str) -> str:
    return metric.replace("_", " ")
