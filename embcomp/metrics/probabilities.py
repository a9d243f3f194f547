"""Metrics of probabilities: log loss, calibration, and whether the truth is among the first k."""

from __future__ import annotations

import numpy as np

from embcomp.metrics.counts import mean_where, ratio
from embcomp.metrics.rows import Rows

BINS = 15
# What float32 can tell from 0 and 1; a certain error costs 15.9 nats, not infinity.
SMALLEST = float(np.finfo(np.float32).eps)


def log_losses(rows: Rows) -> np.ndarray:
    """Sum of the negative log-likelihood and number of terms, by group, shape (groups, 2).

    In nats: of the true class, or of every known label of several.
    """
    probabilities = np.clip(rows.probabilities, SMALLEST, 1 - SMALLEST)
    if rows.multi_label:
        each = -np.where(rows.truth == 1, np.log(probabilities), np.log1p(-probabilities))
        losses, terms = np.where(rows.known, each, 0.0).sum(axis=1), rows.known.sum(axis=1)
    else:
        losses, terms = -np.log(probabilities[np.arange(len(rows)), rows.index]), np.ones(len(rows))
    return rows.by_group(np.stack([losses, terms], axis=1))


def top_hits(rows: Rows, k: int) -> np.ndarray:
    """Clips whose true class is among the `k` most probable, and clips, by group, shape (groups, 2).

    Of equally probable classes the one with the lower number comes first, as for the most probable one.
    """
    first = np.argsort(-rows.probabilities, axis=1, kind="stable")[:, :k]
    hit = (first == rows.index[:, None]).any(axis=1)
    return rows.by_group(np.stack([hit, np.ones(len(rows))], axis=1))


def mean_of_sums(sums: np.ndarray) -> np.ndarray:
    """Mean from (sum, count) in the last axis."""
    return sums[..., 0] / sums[..., 1]


def calibration_sums(rows: Rows) -> np.ndarray:
    """Rows, sum of confidence and number right in each bin, by group, shape (groups, 3, tasks, bins).

    `BINS` bins of equal width over (0, 1], each with its upper edge; 0 is in the first. One label per clip is one
    task, whose confidence is the probability of the class chosen; of several labels each class is a task, whose
    confidence is the probability that it applies.
    """
    if rows.multi_label:
        confidence, right, known = rows.probabilities, rows.truth == 1, rows.known
    else:
        confidence = rows.probabilities.max(axis=1, keepdims=True)
        right = (rows.chosen == rows.index)[:, None]
        known = np.ones_like(right)
    tasks = confidence.shape[1]
    # Taken with the precision of float32, in which students predict: 0.2 is an edge of 15 bins.
    bins = np.clip(np.ceil(np.round(confidence * BINS, 5)) - 1, 0, BINS - 1).astype(np.int64)
    cell = (rows.group[:, None] * tasks + np.arange(tasks)) * BINS + bins
    sums = [
        np.bincount(cell.ravel(), (known * value).ravel(), minlength=rows.groups * tasks * BINS)
        for value in (1.0, confidence, right)
    ]
    return np.stack(sums).reshape(3, rows.groups, tasks, BINS).swapaxes(0, 1)


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error, mean over the tasks that have rows.

    ``sum_b n_b / n * |right_b / n_b - confidence_b / n_b|``: Guo et al. 2017 (arXiv 1706.04599), eq. 5. Too large on
    few clips, where the share of right answers in a bin strays by chance.
    """
    count, confidence, right = (sums[..., number, :, :] for number in range(3))
    total = count.sum(axis=-1)
    return mean_where(ratio(np.abs(right - confidence).sum(axis=-1), total), total > 0)
