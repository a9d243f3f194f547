import numpy as np
import pytest

from embcomp.report.learning import LEAST_GAIN, late_gain


def curves(rng, slope, noise, trainings=6, evaluations=20):
    steps = np.arange(1, evaluations + 1)
    return [
        list(zip(100 * steps, 0.5 + slope * steps + noise * rng.normal(size=evaluations))) for _ in range(trainings)
    ]


def test_students_that_still_improve_are_noticed(rng):
    gain = late_gain(curves(rng, slope=0.005, noise=0.002))
    assert gain == pytest.approx(0.02, abs=0.005)  # four evaluations later


def test_flat_falling_and_noisy_trainings_are_left_alone(rng):
    assert late_gain(curves(rng, slope=0, noise=0)) is None
    assert late_gain(curves(rng, slope=-0.01, noise=0.002)) is None
    noticed = sum(late_gain(curves(rng, slope=0, noise=0.05)) is not None for _ in range(200))
    assert noticed < 20  # chance alone passes twice a standard error in about one of twenty


def test_gains_too_small_to_matter_are_not_mentioned(rng):
    assert late_gain(curves(rng, slope=LEAST_GAIN / 8, noise=0)) is None


def test_one_training_or_few_evaluations_tell_nothing(rng):
    assert late_gain(curves(rng, slope=0.01, noise=0, trainings=1)) is None
    assert late_gain(curves(rng, slope=0.01, noise=0, evaluations=4)) is None
