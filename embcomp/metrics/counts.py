"""Metrics of decisions: sums over groups, so that resampling groups is one matrix product.

Counts of a class, last axis but one of `tallies`: how often it was right, how often it was true, how often it was
predicted, and how often its truth was known.
"""

from __future__ import annotations

import numpy as np

from embcomp.metrics.rows import Rows

RIGHT, TRUE, PREDICTED, KNOWN = range(4)


def tallies(rows: Rows) -> np.ndarray:
    """Counts of each group and class, shape (groups, 4, classes)."""
    if rows.multi_label:
        said = (rows.probabilities >= rows.threshold) & rows.known
        true = rows.truth == 1
    else:
        said = np.eye(rows.classes, dtype=bool)[rows.chosen]
        true = rows.truth == 1
    return rows.by_group(np.stack([said & true, true, said, rows.known], axis=1).astype(np.float64))


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (truth, predicted), shape (classes, classes).

    Parameters
    ----------
    truth, predicted : ndarray of int of shape (n,)
    """
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, and 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def mean_where(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are there; NaN where none is."""
    count = there.sum(axis=-1)
    total = np.where(there, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of clips whose class was found."""
    return counts[..., RIGHT, :].sum(axis=-1) / counts[..., TRUE, :].sum(axis=-1)


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that occur."""
    true = counts[..., TRUE, :]
    return mean_where(ratio(counts[..., RIGHT, :], true), true > 0)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 of the classes that occur; one or several labels."""
    return mean_where(f1(counts), counts[..., TRUE, :] > 0)


def micro_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of all decisions together; with one label per clip that is the accuracy."""
    total = counts.sum(axis=-1)
    return ratio(2 * total[..., RIGHT], total[..., TRUE] + total[..., PREDICTED])


def label_accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of the known labels that were found right, there or not: 1 less the Hamming loss."""
    total = counts.sum(axis=-1)
    right = total[..., KNOWN] - total[..., TRUE] - total[..., PREDICTED] + 2 * total[..., RIGHT]
    return right / total[..., KNOWN]


def two_sided_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over classes of (F1 of "applies" + F1 of "does not") / 2, on known labels.

    As EAsT scores OpenMIC (Ding & Lerch 2023, arXiv 2306.17424), there with a threshold of 0.4. A class counts
    if clips are known that it applies to, and clips that it does not.
    """
    right, true, predicted, known = (counts[..., number, :] for number in range(4))
    rejected = known - true - predicted + right
    negative = ratio(2 * rejected, 2 * known - true - predicted)
    return mean_where((f1(counts) + negative) / 2, (true > 0) & (true < known))


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class."""
    return ratio(2 * counts[..., RIGHT, :], counts[..., TRUE, :] + counts[..., PREDICTED, :])
