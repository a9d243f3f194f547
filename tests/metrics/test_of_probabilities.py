"""Metrics that need probabilities: certain errors, rankings asked twice, and rows put together already."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from embcomp.errors import DataError
from embcomp.metrics import applicable, scores
from embcomp.metrics.ranks import Rankings
from embcomp.metrics.rows import Rows
from embcomp.metrics.table import METRICS, measured

CLASSES = 3


@pytest.fixture(params=[False, True], ids=["one label", "several labels"])
def rows(request):
    rng = np.random.default_rng(0)
    values = rng.random((40, CLASSES))
    if request.param:
        truth = (rng.random((40, CLASSES)) < 0.4).astype(float)
    else:
        truth, values = rng.integers(0, CLASSES, 40), values / values.sum(1, keepdims=True)
    return truth, values, np.repeat(np.arange(8), 5), request.param


def test_rows_are_measured_by_every_metric_that_applies(rows):
    truth, values, groups, several = rows
    whole = Rows.of(truth, values, CLASSES, groups, multi_label=several)
    found = measured(whole, bootstrap=50)
    # As text: an interval that is not made is NaN, which differs from itself.
    assert str(found) == str(scores(truth, values, groups, CLASSES, multi_label=several, bootstrap=50))
    assert [one.name for one in found] == applicable(CLASSES, several)
    chosen = measured(whole, bootstrap=50, chosen_only=True)
    assert (
        [one.name for one in chosen]
        == applicable(CLASSES, several, probabilities=False)
        != applicable(CLASSES, several)
    )


def test_of_the_same_replicates_both_rankings_are_scikit_learns(rows):
    truth, values, groups, several = rows
    whole = Rows.of(truth, values, CLASSES, groups, multi_label=several)
    every, weights = Rankings(whole), np.ones((8, 1))
    applies = truth if several else np.eye(CLASSES)[truth]
    for _ in range(2):  # the second answer is the one that is kept
        assert every.average_precision(weights)[0] == pytest.approx(average_precision_score(applies, values))
        assert every.roc_auc(weights)[0] == pytest.approx(roc_auc_score(applies, values))
    fewer = np.repeat([0.0, 1.0], 4)[:, None]
    assert every.roc_auc(fewer)[0] == pytest.approx(roc_auc_score(applies[20:], values[20:]))


def test_a_certain_error_costs_what_float32_can_tell_and_a_certain_truth_nothing():
    nats = -np.log(np.finfo(np.float32).eps)
    for wrong, right, several in (([[1, 0]], [[0, 1]], False), ([[1.0, 0.0]], [[0.0, 1.0]], True)):
        truth = np.array([[0.0, 1.0]]) if several else np.array([1])
        for values, loss in ((wrong, nats), (right, 0.0)):
            found = scores(truth, np.array(values, dtype=float), np.zeros(1), 2, multi_label=several)
            assert {one.name: one.value for one in found}["log_loss"] == pytest.approx(loss, abs=1e-6)


def test_a_metric_is_not_changed_by_its_users():
    with pytest.raises(FrozenInstanceError):
        METRICS["accuracy"].higher_is_better = False


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT], ids=repr)
def test_a_row_without_a_group_is_refused(missing):
    groups = np.array(["a", missing, "b"], dtype=object)
    with pytest.raises(DataError, match="group"):
        Rows.of(np.array([0, 1, 0]), np.array([0, 1, 1]), 2, groups)
