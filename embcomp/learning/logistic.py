"""Logistic regression on frozen vectors, whatever classes happen to occur among them.

Three parts ask for it: the teacher of `embcomp.transfer.logistic`, the probe of `embcomp.evaluation.probes` and
the score of a size in `embcomp.evaluation.dimension`. Scaling the vectors is theirs, and is not the same in all.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

# Inverse of the L2 penalty, on standardised vectors.
STRENGTH = 0.01


class Logistic:
    """One softmax regression over classes, or one sigmoid regression for each of several labels.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
    labels : ndarray
        Class of each row, int ``(n,)``; or float ``(n, n_classes)`` of 0, 1 and NaN for unknown, where each class
        is fitted on the rows for which it is known.
    n_classes : int
        Not every class need occur.
    strength : float, default=0.01
        Inverse of the L2 penalty (scikit-learn's C).
    max_iter : int, default=200
        Of L-BFGS.

    Examples
    --------
    >>> vectors = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> model = Logistic(vectors, np.array([0, 0, 2, 2]), 3)
    >>> model.probabilities(vectors).argmax(1)
    array([0, 0, 2, 2])
    """

    def __init__(
        self, vectors: np.ndarray, labels: np.ndarray, n_classes: int, strength: float = STRENGTH, max_iter: int = 200
    ):
        self.n_classes = n_classes
        self.columns: list[_Regression] | None = None
        if labels.ndim == 1:
            self.softmax = _Regression(vectors, labels, strength, max_iter)
            return
        known = ~np.isnan(labels)
        self.columns = [
            _Regression(vectors[rows], cells[rows].astype(np.int64), strength, max_iter)
            for cells, rows in zip(labels.T, known.T, strict=True)
        ]

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Scores ``(m, n_classes)`` before the softmax or the sigmoid; NaN for what there was nothing to learn about.

        That is a class which does not occur, and of several labels one of which only one kind is known.
        """
        if self.columns is None:
            found = self.softmax.scores(vectors)
            return _spread(found, self.softmax.present, self.n_classes, np.nan)
        missing = np.full(len(vectors), np.nan)
        columns = [column.scores(vectors)[:, 1] if len(column.present) == 2 else missing for column in self.columns]
        return np.stack(columns, axis=1)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities float32 ``(m, n_classes)``: 0 for a class that does not occur.

        A label of which one kind only is known is taken to be of that kind, and not to apply where none is known.
        """
        if self.columns is None:
            found = self.softmax.probabilities(vectors)
            return _spread(found, self.softmax.present, self.n_classes, 0.0).astype(np.float32)
        columns = [_spread(column.probabilities(vectors), column.present, 2, 0.0)[:, 1] for column in self.columns]
        return np.stack(columns, axis=1).astype(np.float32)


class _Regression:
    """A regression over the classes `present` among the rows it is given, of which there may be one, or none."""

    def __init__(self, vectors: np.ndarray, index: np.ndarray, strength: float, max_iter: int):
        self.present = np.unique(index)
        self.model = None
        if len(self.present) > 1:
            self.model = LogisticRegression(C=strength, max_iter=max_iter).fit(vectors, index)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        if self.model is None:
            return np.zeros((len(vectors), len(self.present)))
        found = self.model.decision_function(vectors)
        # Of two classes scikit-learn gives one score, the second's advantage.
        return found if found.ndim == 2 else np.stack([np.zeros_like(found), found], axis=1)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        return np.ones((len(vectors), len(self.present))) if self.model is None else self.model.predict_proba(vectors)


def _spread(values: np.ndarray, columns: np.ndarray, width: int, fill: float) -> np.ndarray:
    """`values` put into `columns` of a matrix of so many columns, all else being `fill`."""
    found = np.full((len(values), width), fill, dtype=values.dtype)
    found[:, columns] = values
    return found
