"""The interval against its formula, written again with other means: the mean's own interval is in every textbook."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from embcomp.metrics.bootstrap import draws, interval


def resampled_means(values: np.ndarray, count: int = 40_000, seed: int = 0) -> np.ndarray:
    return draws(len(values), count, seed).T @ values / len(values)


@pytest.mark.parametrize("groups", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_of_a_mean_it_is_students_interval(groups, confidence):
    """A bootstrap's variance of a mean is short by (g - 1) / g; with that mended it is the t interval of one sample."""
    values = np.random.default_rng(groups).normal(3.0, 2.0, groups)
    found = interval(values.mean(), resampled_means(values), groups, confidence, "any")
    expected = stats.t.interval(confidence, groups - 1, values.mean(), stats.sem(values))
    assert found == pytest.approx(expected, rel=0.02, abs=0.02 * np.ptp(expected))


@pytest.mark.parametrize("groups", [2, 4, 30])
def test_ends_are_as_far_as_students_quantile_on_every_scale(groups):
    rng = np.random.default_rng(0)
    for scale, value, to in (
        ("any", -2.0, float),
        ("share", 0.8, lambda p: np.log(p / (1 - p))),
        ("positive", 3.0, np.log),
    ):
        replicates = value + 0.01 * rng.normal(size=500)
        slope = (to(value + 1e-6) - to(value - 1e-6)) / 2e-6
        # The variance with one degree less of freedom, by sums and not by numpy's own.
        variance = sum((one - replicates.mean()) ** 2 for one in replicates) / len(replicates) * groups / (groups - 1)
        reach = slope * np.sqrt(variance) * stats.t.isf(0.05, groups - 1)
        low, high = interval(value, replicates, groups, 0.9, scale)
        assert (to(low), to(high)) == pytest.approx((to(value) - reach, to(value) + reach), rel=1e-5)


def test_what_a_change_of_scale_must_not_change():
    """Twice the loss has twice the ends; a share and its rest have ends that mirror each other."""
    replicates = np.random.default_rng(0).uniform(0.5, 0.9, 300)
    low, high = interval(0.7, replicates, 6, 0.95, "share")
    assert interval(0.3, 1 - replicates, 6, 0.95, "share") == pytest.approx((1 - high, 1 - low))
    for scale in ("positive", "any"):
        ends = np.array(interval(0.7, replicates, 6, 0.95, scale))
        assert interval(1.4, 2 * replicates, 6, 0.95, scale) == pytest.approx(2 * ends)


def test_groups_are_drawn_with_replacement_each_alike():
    counts = draws(5, 20_000, 0)
    assert (counts.sum(axis=0) == 5).all()
    # Multinomial: mean 1, variance 1 - 1/5 and covariance -1/5.
    np.testing.assert_allclose(np.cov(counts), np.eye(5) - 0.2, atol=0.03)
    np.testing.assert_allclose(counts.mean(axis=1), 1.0, atol=0.03)


@pytest.mark.parametrize("scale", ["share", "positive", "any"])
def test_without_groups_replicates_or_a_value_there_are_no_ends(scale):
    replicates = np.array([0.4, 0.5, 0.6])
    for value, given, groups in (
        (0.5, replicates, 1),
        (0.5, replicates[:1], 5),
        (0.5, np.array([0.5, np.nan, np.nan]), 5),
        (float("nan"), replicates, 5),
        (float("nan"), replicates[:1], 5),
    ):
        assert np.isnan(interval(value, given, groups, 0.95, scale)).all()
    ends = interval(0.5, replicates[:2], 2, 0.95, scale)
    assert ends[0] < 0.5 < ends[1]
    assert interval(0.5, np.append(replicates, np.nan), 3, 0.95, scale) == interval(0.5, replicates, 3, 0.95, scale)
