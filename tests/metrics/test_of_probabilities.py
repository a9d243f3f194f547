"""Metrics that need probabilities: certain errors, rankings asked twice, and rows put together already."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from embcomp.errors import DataError
from embcomp.metrics import applicable, ranks, scores
from embcomp.metrics.classes import per_class
from embcomp.metrics.probabilities import calibration_sums
from embcomp.metrics.ranks import Rankings
from embcomp.metrics.rows import Rows
from embcomp.metrics.score import Score
from embcomp.metrics.table import METRICS, measured, score

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


@pytest.mark.parametrize("dense, together", [(0, 1), (1 << 20, 1), (1 << 20, 20), (1 << 20, 1 << 20), (12, 40)])
def test_rankings_are_the_same_one_by_one_and_together(rows, monkeypatch, dense, together):
    """Also with ties, and with several students whose clips are ranked apart."""
    truth, values, groups, several = rows
    students = np.arange(len(values)) % 2
    several_students = Rows.of(truth, values.round(1), CLASSES, groups, students, multi_label=several)
    weights = np.random.default_rng(0).integers(3, size=(several_students.groups, 9)).astype(float)
    before = Rankings(several_students).per_class(weights)
    monkeypatch.setattr(ranks, "DENSE", dense)
    monkeypatch.setattr(ranks, "TOGETHER", together)
    for one, other in zip(before, Rankings(several_students).per_class(weights)):
        np.testing.assert_allclose(one, other, rtol=1e-12)


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


@pytest.mark.parametrize("name", METRICS)
def test_higher_is_better_says_which_of_right_and_wrong_predictions_has_the_better_score(name):
    classes = 5
    index = np.arange(40) % classes
    for several in (False, True):
        if METRICS[name].of(several) is None:
            continue
        truth = np.eye(classes)[index] if several else index
        right = np.full((40, classes), 0.02) + 0.9 * np.eye(classes)[index]
        wrong = np.full((40, classes), 0.02) + 0.9 * np.eye(classes)[(index + 1) % classes]
        for value in (right, wrong):
            value /= value.sum(1, keepdims=True)
        found = [
            {one.name: one for one in scores(truth, values, index, classes, multi_label=several, bootstrap=2)}
            for values in (right, wrong)
        ]
        if name in found[0]:
            better, worse = (one[name] for one in found)
            assert better.higher_is_better == worse.higher_is_better == (better.value > worse.value)


@pytest.mark.parametrize("edge", range(1, 15))
def test_bins_of_the_calibration_error_hold_their_upper_edge_and_nothing_that_float32_tells_from_it(edge):
    values = np.clip(edge / 15 + np.array([-2e-6, -1e-9, 1e-9, 2e-6]), 0, 1)
    rows = Rows.of(np.ones((4, 1)), values[:, None], 1, np.zeros(4), multi_label=True)
    count = calibration_sums(rows)[0, 0, 0]
    assert count[edge - 1] == 3 and count[edge] == 1 and count.sum() == 4


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("several", [False, True])
def test_ranked_says_that_only_the_order_within_a_class_counts(name, several):
    if METRICS[name].of(several) is None:
        return
    rng = np.random.default_rng(1)
    values = rng.uniform(0.05, 0.95, (60, 5))
    truth = (rng.random((60, 5)) < 0.4).astype(float) if several else rng.integers(0, 5, 60)
    bent = values ** np.arange(1, 6)  # each class in another way, none in its order
    before, after = (score(name, truth, given, 5, multi_label=several) for given in (values, bent))
    assert (before == pytest.approx(after, abs=1e-12)) == METRICS[name].ranked


def test_a_class_without_clips_or_predictions_has_no_recall_or_precision():
    truth, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 2])
    table = per_class(Rows.of(truth, np.eye(5)[predicted], 5), tuple("abcde")).set_index("class")
    options = {"labels": range(5), "average": None, "zero_division": np.nan}
    for name, measure in (("recall", recall_score), ("precision", precision_score)):
        np.testing.assert_allclose(table[name], measure(truth, predicted, **options), rtol=1e-12)
        assert list(table.index[table[name].isna()]) == ["d", "e"]
    assert table["support"].tolist() == [2, 1, 3, 0, 0] and table["known"].tolist() == [6] * 5
    never = per_class(Rows.of(truth, np.eye(5)[np.zeros(6, int)], 5), tuple("abcde")).set_index("class")
    assert never["precision"].isna().tolist() == [False, True, True, True, True] and never["recall"]["b"] == 0


def test_a_number_is_by_default_the_better_the_higher():
    assert Score("accuracy", 0.5).higher_is_better and np.isnan(Score("accuracy", 0.5).low)
