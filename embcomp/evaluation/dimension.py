"""How small may the target be? Scores against the dimension, and one recommended size.

For every compression method and every size: how much variance comes back, how well a linear probe separates the
classes, and how many nearest neighbours of the full embedding remain. All on rows of held-out groups; scaler,
compressor and probe see training rows only.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from embcomp.compression import METHODS, Compressor
from embcomp.compression.cells import group_codes
from embcomp.compression.rows import as_rows, raise_not_finite
from embcomp.compression.targets import Targets, encode
from embcomp.errors import DataError, choose
from embcomp.extras import imported
from embcomp.learning import STRENGTH, Logistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_METHODS = ("random", "pca", "lda", "linear", "mlp")
MEASURES = {"score": "probe score", "retained": "variance retained", "overlap": "nearest neighbours kept"}
QUERIES = 1000


def dimension_curve(
    X: Any,
    y: Any,
    groups: Any = None,
    dims: Sequence[int] | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    *,
    folds: int = 5,
    neighbours: int = 10,
    probe_strength: float = STRENGTH,
    nested: bool = True,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure every method at every size by group-wise cross-validation.

    Parameters
    ----------
    X : (n, dim) array, memory map, store or Concatenation
        Held in memory, one fold's training rows at a time besides.
    y : array-like of shape (n,) or (n, n_classes)
        Labels as :meth:`Compressor.fit` takes them; unlabelled rows are left out.
    groups : array-like of shape (n,), optional
        Speakers, machines, recordings: never on both sides of a fold. Without,
        every row is its own group.
    dims : sequence of int, optional
        Sizes; by default the powers of two up to 256, below dim and the smallest fold's rows.
    methods : sequence of str
        Any of :data:`embcomp.compression.METHODS`.
    folds : int, default=5
        At most the number of groups.
    neighbours : int, default=10
    probe_strength : float, default=0.01
        Inverse L2 penalty of the logistic regression. The embedding is standardised on
        training rows; what a compressor makes of it is scaled as a whole, not by dimension.
    nested : bool, default=True
        Train ``linear`` and ``mlp`` once per fold for all sizes, with the nested
        loss; False trains each size by itself. Closed forms are the same either way.
    seed : int, default=0
    options : dict, optional
        More parameters of :class:`Compressor`.
    progress : callable, optional
        Called with (fits done, fits in all).

    Returns
    -------
    DataFrame
        Columns ``method``, ``dim``, for each of ``score`` (balanced accuracy; mean
        average precision for several labels), ``retained`` and ``overlap`` the mean
        over folds and a 95 % t-interval in ``*_low`` and ``*_high``, and ``behind``:
        the mean of the full embedding's score minus this, fold by fold. The
        full embedding is the row ``identity``.

    Raises
    ------
    DataError
        Fewer than two groups or classes, a size that a fold cannot support, or rows with NaN or infinity.
    """
    for method in methods:
        choose("method", method, METHODS)
    data, targets, group_codes = _labelled(X, y, groups)
    if not np.isfinite(data).all():
        raise_not_finite(as_rows(X))
    splits = list(_splits(targets, group_codes, folds, seed))
    smallest = min(len(train) for train, _ in splits)
    dims = _sizes(dims, min(smallest, data.shape[1]))
    base = {"random_state": seed, **(options or {})}
    plan = [(method, sizes) for method in methods for sizes in _shared_fits(method, dims, nested)]
    records, done = [], 0
    for fold, (train, test) in enumerate(splits):
        measure = _Fold(data, targets, train, test, neighbours, probe_strength, seed)
        records.append({"fold": fold, "method": "identity", "dim": data.shape[1], **measure.full})
        labels = targets.values[train]
        for method, sizes in plan:
            compressor = Compressor(
                max(sizes), method, **{"nested": nested and len(sizes) > 1, "wide": True, "center": True, **base}
            )
            compressor.fit(measure.train, labels, groups=group_codes[train])
            records += [
                {"fold": fold, "method": method, "dim": size, **measure(compressor.truncate(size))} for size in sizes
            ]
            done += 1
            if progress is not None:
                progress(done, len(plan) * len(splits))
    return _summarise(pd.DataFrame(records))


@dataclass(frozen=True)
class Recommendation:
    """The smallest target that is nearly as good as the embedding.

    Attributes
    ----------
    method : str
        ``identity`` where no size is good enough.
    dim : int
    score, full_score : float
        Of this size and of the full embedding.
    full_dim : int
    margin : float
        What "nearly" means, in units of the score.
    """

    method: str
    dim: int
    score: float
    full_score: float
    full_dim: int
    margin: float

    def __str__(self) -> str:
        if self.method == "identity":
            return (
                f"no size is within {self.margin:g} of the full embedding's {self.full_score:.3f}: keep {self.full_dim}"
            )
        return (
            f"{self.dim} dimensions by {self.method}: score {self.score:.3f}, "
            f"within {self.margin:g} of the {self.full_score:.3f} of all {self.full_dim}"
        )


def recommend(curve: pd.DataFrame, margin: float = 0.02, method: str | None = None) -> Recommendation:
    """Choose the smallest size whose mean score is within `margin` of the full embedding's.

    Parameters
    ----------
    curve : DataFrame
        From :func:`dimension_curve`.
    margin : float, default=0.02
    method : str, optional
        Look at this method alone; by default at all, and among equal sizes take the best score.
    """
    full = curve[curve["method"] == "identity"].iloc[-1]
    compressed = curve[curve["method"] != "identity"]
    if method is not None:
        choose("method", method, dict.fromkeys(compressed["method"]))
        compressed = compressed[compressed["method"] == method]
    enough = compressed[compressed["behind"] <= margin].sort_values(["dim", "score"], ascending=[True, False])
    chosen = full if enough.empty else enough.iloc[0]
    return Recommendation(
        chosen["method"], int(chosen["dim"]), float(chosen["score"]), float(full["score"]), int(full["dim"]), margin
    )


def plot_curve(curve: pd.DataFrame, path: str | os.PathLike | None = None, margin: float = 0.02) -> Figure:
    """Draw a curve, one panel per measure, with the recommended size marked.

    Parameters
    ----------
    curve : DataFrame
        From :func:`dimension_curve`.
    path : path, optional
        Where to write the picture; the suffix decides its format.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    figure = imported("matplotlib.figure", "plots need", extra="viz").Figure(figsize=(13, 4.2), layout="constrained")
    full, choice = curve[curve["method"] == "identity"].iloc[-1], recommend(curve, margin)
    compressed = curve[curve["method"] != "identity"]
    for axes, (measure, title) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
        for number, (method, rows) in enumerate(compressed.groupby("method", sort=False)):
            axes.plot(rows["dim"], rows[measure], marker="osD^v<>"[number % 7], markersize=4, label=method)
            axes.fill_between(rows["dim"], rows[f"{measure}_low"], rows[f"{measure}_high"], alpha=0.12)
        axes.axhline(full[measure], color="black", linestyle="--", linewidth=1, label=f"all {int(full['dim'])}")
        axes.axvline(choice.dim, color="grey", linestyle=":", linewidth=1)
        axes.set_xscale("log", base=2)
        ticks = sorted(set(compressed["dim"]))
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_ylim(max(-0.05, compressed[measure].min() - 0.1), 1.02)
        axes.set_xlabel("dimensions kept")
        axes.set_title(title)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    figure.suptitle(f"Recommended: {choice}", fontsize="medium")
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    return figure


class _Fold:
    """Measures compressors on one fold, always against the same full embedding."""

    def __init__(self, data, targets: Targets, train, test, neighbours: int, strength: float, seed: int):
        # Units of the teacher's dimensions differ; every method starts from the standardised embedding.
        scaler = StandardScaler().fit(data[train])
        self.train, self.test = (scaler.transform(data[rows]).astype(np.float32) for rows in (train, test))
        self.labels, self.truth = targets.values[train], targets.values[test]
        self.strength, self.n_classes = strength, len(targets.classes)
        rng = np.random.default_rng(seed)
        self.queries = np.sort(rng.permutation(len(test))[:QUERIES])
        self.neighbours = min(neighbours, len(train))
        self.nearest = self._nearest(self.train, self.test)
        self.mean = self.train.mean(axis=0)
        self.full = {"score": self._score(self.train, self.test), "retained": 1.0, "overlap": 1.0}

    def __call__(self, compressor: Compressor) -> dict[str, float]:
        train, test = compressor.transform(self.train), compressor.transform(self.test)
        lost = ((self.test - compressor.inverse_transform(test)) ** 2).sum()
        kept = [len(np.intersect1d(a, b)) for a, b in zip(self.nearest, self._nearest(train, test), strict=True)]
        return {
            "score": self._score(train, test),
            "retained": float(1 - lost / ((self.test - self.mean) ** 2).sum()),
            "overlap": float(np.mean(kept) / self.neighbours),
        }

    def _nearest(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Training rows closest to each query, Euclidean, (queries, neighbours), in no order."""
        # The query's own norm changes no order, so it is left out.
        distance = (train**2).sum(axis=1) - 2 * test[self.queries] @ train.T
        return np.argpartition(distance, self.neighbours - 1, axis=1)[:, : self.neighbours]

    def _alike(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both scaled as a whole to the total variance of the embedding, so that one penalty suits every size.

        Standardising each dimension would blow up those a compressor holds for unimportant.
        """
        mean = train.mean(axis=0)
        spread = np.sqrt(self.train.shape[1] * len(train) / max(float(((train - mean) ** 2).sum()), 1e-12))
        return (train - mean) * spread, (test - mean) * spread

    def _score(self, train: np.ndarray, test: np.ndarray) -> float:
        train, test = self._alike(train, test)
        with warnings.catch_warnings():
            # Codes of few dimensions may still creep after 300 steps, by less than any interval here.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # A fold without some class is scored on the classes it has.
            warnings.simplefilter("ignore", UserWarning)
            scores = Logistic(train, self.labels, self.n_classes, self.strength, max_iter=300).scores(test)
            if self.labels.ndim == 1:
                return float(balanced_accuracy_score(self.truth, np.nanargmax(scores, axis=1)))
        precisions = []
        for truth, found in zip(self.truth.T, scores.T, strict=True):
            known = ~np.isnan(truth)
            if len(np.unique(truth[known])) == 2 and not np.isnan(found).any():
                precisions.append(average_precision_score(truth[known], found[known]))
        return float(np.mean(precisions)) if precisions else float("nan")


def _labelled(X, y, groups) -> tuple[np.ndarray, Targets, np.ndarray]:
    rows = as_rows(X)
    targets = encode(y, len(rows))
    codes = np.arange(len(rows)) if groups is None else group_codes(groups, len(rows))
    known = np.flatnonzero(targets.known)
    return rows[known].astype(np.float32), targets.subset(known), codes[known]


def _splits(targets: Targets, groups: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    count = min(folds, len(np.unique(groups)))
    if count < 2:
        raise DataError("cross-validation needs rows of two groups or more")
    # Stratifying a handful of groups would only unbalance the folds.
    if targets.multilabel or len(np.unique(groups)) < 3 * count:
        return GroupKFold(count).split(groups, groups=groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        folder = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return iter(list(folder.split(groups, targets.values, groups)))


def _sizes(dims: Sequence[int] | None, most: int) -> list[int]:
    if dims is None:
        return [size for size in (2, 4, 8, 16, 32, 64, 128, 256) if size < most]
    sizes = sorted({int(size) for size in dims})
    if not sizes or sizes[0] < 1 or sizes[-1] > most:
        raise DataError(f"dims must lie between 1 and {most}, what the smallest fold allows; got {list(dims)}")
    return sizes


def _shared_fits(method: str, dims: list[int], nested: bool) -> list[list[int]]:
    """Sizes that one fit serves: all of them, but for methods trained size by size."""
    return [dims] if nested or method not in ("linear", "mlp") else [[size] for size in dims]


def _summarise(folds: pd.DataFrame) -> pd.DataFrame:
    full = folds[folds["method"] == "identity"].set_index("fold")["score"]
    folds = folds.assign(behind=folds["fold"].map(full) - folds["score"])
    rows = []
    for (method, dim), part in folds.groupby(["method", "dim"], sort=False):
        row = {"method": method, "dim": int(dim)}
        for measure in MEASURES:
            values = part[measure].to_numpy()
            half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
            low, high = values.mean() - half, min(values.mean() + half, 1.0)
            row |= {measure: values.mean(), f"{measure}_low": low, f"{measure}_high": max(high, values.mean())}
        rows.append({**row, "behind": part["behind"].mean(), "folds": len(part)})
    return pd.DataFrame(rows)
