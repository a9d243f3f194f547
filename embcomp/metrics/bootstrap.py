"""Intervals that resample whole groups."""

from __future__ import annotations

import math

import numpy as np


def draws(groups: int, replicates: int, seed: int) -> np.ndarray:
    """How often each group is drawn in each replicate, float64 (groups, replicates)."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(groups, size=(replicates, groups)) + groups * np.arange(replicates)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=replicates * groups).reshape(replicates, groups)
    return np.ascontiguousarray(counts.T, dtype=np.float64)


def interval(
    value: float, replicates: np.ndarray, groups: int, confidence: float, scale: str = "share"
) -> tuple[float, float]:
    """Ends of the interval around a value.

    The deviation of the replicates, times ``sqrt(g / (g - 1))`` for the groups' own mean is resampled too, and the
    quantile of Student's t with ``g - 1`` degrees of freedom; a share is taken to its logit first, a positive number
    to its logarithm, and the ends back (the delta method), so that they stay in range and are not symmetric near an
    edge. See Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 12 and 13. Percentiles of the
    replicates are too narrow for few groups and off for metrics that resampling biases; docs/choices.md has what
    both cover.

    Parameters
    ----------
    replicates : ndarray of shape (b,)
        The metric when whole groups are drawn again; NaN are left out.
    scale : {"share", "positive", "any"}
        Of the value: in 0..1, above 0, or any number.

    Returns
    -------
    low, high : float
        NaN for a single group or no value.
    """
    from scipy.special import stdtrit

    replicates = replicates[~np.isnan(replicates)]
    if groups < 2 or len(replicates) < 2 or math.isnan(value):
        return float("nan"), float("nan")
    reach = float(stdtrit(groups - 1, (1 + confidence) / 2)) * replicates.std() * math.sqrt(groups / (groups - 1))
    if scale == "share" and 0 < value < 1:
        centre, reach = math.log(value / (1 - value)), reach / (value * (1 - value))
        return _from_logit(centre - reach), _from_logit(centre + reach)
    if scale == "positive" and value > 0:
        return value * math.exp(-min(reach / value, 500)), value * math.exp(min(reach / value, 500))
    return float(value - reach), float(value + reach)


def _from_logit(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -500), 500)))
