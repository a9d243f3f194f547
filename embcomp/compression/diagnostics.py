"""What a fitted compressor kept and what it lost, on any rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from embcomp.compression.fitted import Fitted
from embcomp.compression.moments import Moments
from embcomp.compression.rows import Rows, as_rows
from embcomp.compression.targets import encode


@dataclass(frozen=True)
class Report:
    """What was kept and lost.

    Attributes
    ----------
    n_rows, n_features, n_components : int
    component_variance : ndarray of shape (d,)
        Variance of each component over these rows.
    retained_variance : float
        Share of the rows' variance that ``inverse_transform`` gives back; below
        zero when the mean would be the better guess.
    separation_before, separation_after : float or None
        Share of the variance that lies between classes, in the embeddings and
        in the targets; None without targets.
    retained : ndarray of shape (n,)
        Per row, 1 - squared error / squared distance from the mean.
    most, least : list of (str or int, float)
        Ids, or row numbers, of the rows retained best and worst, with :attr:`retained`.
    """

    n_rows: int
    n_features: int
    n_components: int
    component_variance: np.ndarray
    retained_variance: float
    separation_before: float | None
    separation_after: float | None
    retained: np.ndarray
    most: list[tuple[Any, float]]
    least: list[tuple[Any, float]]

    def __str__(self) -> str:
        share = self.component_variance / max(self.component_variance.sum(), np.finfo(float).tiny)
        lines = [
            f"{self.n_features} -> {self.n_components} dimensions over {self.n_rows} rows",
            f"variance given back: {self.retained_variance:.1%}",
            "share of the target's variance per component: "
            + " ".join(f"{value:.1%}" for value in share[:8])
            + (" ..." if len(share) > 8 else ""),
        ]
        if self.separation_before is not None:
            lines.append(f"variance between classes: {self.separation_before:.1%} -> {self.separation_after:.1%}")
        for name, rows in (("most", self.most), ("least", self.least)):
            lines.append(f"{name} retained: " + ", ".join(f"{row} ({value:.1%})" for row, value in rows))
        return "\n".join(lines)


def report(fitted: Fitted, rows: Rows, y: Any = None, show: int = 5) -> Report:
    """Measure on rows what a fitted compression keeps.

    Parameters
    ----------
    rows : Rows of shape (n, dim)
    y : labels of the n rows, optional
        They must be among those seen in fitting, where fitting saw any.
    show : int, default=5
        Rows to name at each end.

    Raises
    ------
    DataError
        Labels were not seen in fitting, or do not match the rows.
    """
    members = None if y is None else encode(y, len(rows), fitted.classes).membership()
    targets = fitted.transform(rows)
    mean, scale = fitted.decoders.mean, fitted.decoders.scale
    before = Moments(rows.shape[1]).update(rows)
    error, spread = np.empty(len(rows)), np.empty(len(rows))
    for start, block in rows.blocks():
        part = slice(start, start + len(block))
        back = fitted.inverse_transform(as_rows(targets[part]))
        error[part] = (((block - back) / scale) ** 2).sum(axis=1)
        spread[part] = (((block - mean) / scale) ** 2).sum(axis=1)
    retained = 1 - error / np.where(spread > 0, spread, 1.0)
    order = np.argsort(-retained, kind="stable")
    names = range(len(rows)) if rows.ids is None else rows.ids
    return Report(
        n_rows=len(rows),
        n_features=rows.shape[1],
        n_components=fitted.n_components,
        component_variance=targets.var(axis=0, ddof=1, dtype=np.float64),
        retained_variance=1 - error.sum() / float((before.variance / scale**2).sum() * before.degrees),
        separation_before=None if members is None else separation(rows, members, scale),
        separation_after=None if members is None else separation(as_rows(targets), members),
        retained=retained,
        most=[(names[row], float(retained[row])) for row in order[:show]],
        least=[(names[row], float(retained[row])) for row in order[::-1][:show]],
    )


def separation(rows: Rows, members: np.ndarray, scale: np.ndarray | float = 1.0) -> float:
    """Share of the variance of rows ``(n, dim)`` that lies between classes, in [0, 1]."""
    moments = Moments(rows.shape[1], members.shape[1]).update(rows, members)
    total = (np.diag(moments.scatter) / scale**2).sum()
    between = (moments.class_mass[:, None] * ((moments.class_mean - moments.mean) / scale) ** 2).sum()
    return float(between / total) if total > 0 else 0.0
