"""Scores: the numbers of scikit-learn, and intervals that know of groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from embcomp.errors import ConfigError, DataError
from embcomp.metrics import applicable, confusion, score, scores

DECISIONS = applicable(6, False, probabilities=False)


def predictions(seed, clips=200, classes=6, absent=()):
    """Truth without the classes `absent`, and predictions over all classes, half of them right."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([number for number in range(classes) if number not in absent], clips)
    return truth, np.where(rng.random(clips) < 0.5, truth, rng.integers(0, classes, clips))


def by_sklearn(name, truth, predicted):
    present = np.unique(truth)
    return {
        "accuracy": lambda: reference.accuracy_score(truth, predicted),
        "balanced_accuracy": lambda: reference.recall_score(truth, predicted, labels=present, average="macro"),
        "macro_f1": lambda: reference.f1_score(truth, predicted, labels=present, average="macro", zero_division=0),
    }[name]()


@pytest.mark.parametrize("name", DECISIONS)
@pytest.mark.parametrize("absent", [(), (0,), (2, 5), (0, 1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_scikit_learn(name, absent, seed):
    truth, predicted = predictions(seed, absent=absent)
    expected = by_sklearn(name, truth, predicted)
    assert score(name, truth, predicted, 6) == pytest.approx(expected, abs=1e-12)
    found = {one.name: one.value for one in scores(truth, predicted, np.arange(200), 6, bootstrap=2)}
    assert found[name] == pytest.approx(expected, abs=1e-12)


def test_balanced_accuracy_is_scikit_learns_where_every_class_occurs():
    truth, predicted = predictions(7)
    expected = reference.balanced_accuracy_score(truth, predicted)
    assert score("balanced_accuracy", truth, predicted, 6) == pytest.approx(expected, abs=1e-12)


def test_confusion_agrees_with_scikit_learn():
    truth, predicted = predictions(1, absent=(3,))
    expected = reference.confusion_matrix(truth, predicted, labels=range(6))
    assert np.array_equal(confusion(truth, predicted, 6), expected)
    few = np.array([0, 1])  # the last classes occur nowhere
    assert np.array_equal(confusion(few, few, 6), reference.confusion_matrix(few, few, labels=range(6)))


@pytest.mark.parametrize("name", DECISIONS)
def test_all_right_is_one_and_all_wrong_is_zero(name):
    truth = np.array([0, 1, 1, 2])
    assert score(name, truth, truth, 5) == 1.0
    assert score(name, truth, (truth + 1) % 3, 5) == 0.0


@pytest.mark.parametrize("name", DECISIONS)
def test_no_clips_have_no_score(name):
    nothing = np.empty(0, dtype=np.int64)
    assert np.isnan(score(name, nothing, nothing, 3))
    for one in scores(nothing, nothing, nothing, 3):
        assert np.isnan([one.value, one.low, one.high]).all() and one.n == 0


def test_the_interval_holds_the_value_and_narrows_with_more_groups():
    widths = []
    for clips in (40, 4000):
        truth, predicted = predictions(0, clips=clips)
        for one in scores(truth, predicted, np.arange(clips), 6):
            assert one.low < one.value < one.high
            assert one.n == clips
        widths.append(one.high - one.low)
    assert widths[1] < widths[0] / 5


def test_the_interval_of_independent_clips_is_that_of_the_binomial():
    rng = np.random.default_rng(0)
    truth, right = rng.integers(0, 2, 400), rng.random(400) < 0.8
    accuracy = scores(truth, np.where(right, truth, 1 - truth), np.arange(400), 2, bootstrap=4000)[0]
    deviation = np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert accuracy.high - accuracy.low == pytest.approx(2 * 1.96 * deviation, rel=0.08)


def test_correlated_groups_make_the_interval_wider():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 20)
    truth = rng.integers(0, 2, 400)
    predicted = np.where(np.repeat(rng.random(20) < 0.7, 20), truth, 1 - truth)  # a group is right or wrong as a whole
    whole = scores(truth, predicted, groups, 2)[0]
    alone = scores(truth, predicted, np.arange(400), 2)[0]
    assert whole.value == alone.value
    assert whole.high - whole.low > 3 * (alone.high - alone.low)


def test_clips_that_repeat_within_their_group_do_not_narrow_the_interval():
    truth, predicted = predictions(2, clips=50)
    once = scores(truth, predicted, np.arange(50), 6)
    thrice = scores(*(np.tile(column, 3) for column in (truth, predicted, np.arange(50))), 6, clips=50)
    for one, other in zip(once, thrice):
        assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))
        assert other.n == 50


def test_the_interval_depends_on_the_seed_alone():
    truth, predicted = predictions(0)
    groups = np.arange(200) % 20
    first, again, other = (scores(truth, predicted, groups, 6, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert [one.low for one in first] != [one.low for one in other]
    assert [one.value for one in first] == [one.value for one in other]


def test_the_interval_does_not_depend_on_the_order_of_clips():
    truth, predicted = predictions(0)
    groups = np.array([f"g{number % 20:02}" for number in range(200)])
    order = np.random.default_rng(1).permutation(200)
    assert scores(truth, predicted, groups, 6) == scores(truth[order], predicted[order], groups[order], 6)


def test_more_confidence_is_a_wider_interval():
    truth, predicted = predictions(0)
    narrow, wide = (scores(truth, predicted, np.arange(200), 6, confidence=share)[0] for share in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_single_group_has_no_interval():
    truth, predicted = predictions(0)
    for one in scores(truth, predicted, np.full(200, "only"), 6):
        assert np.isnan(one.low) and np.isnan(one.high) and 0 < one.value < 1


def test_groups_may_be_words_or_numbers():
    truth, predicted = predictions(0)
    numbers = np.arange(200) % 10
    words = np.array([str(number) for number in numbers], dtype=object)
    assert scores(truth, predicted, numbers, 6) == scores(truth, predicted, words, 6)


@pytest.mark.parametrize(
    ("truth", "predicted", "groups", "message"),
    [
        ([0, 1], [0], [0, 0], "differ in length: 2, 1, 2"),
        ([0, 1], [0, 1], [0], "differ in length: 2, 2, 1"),
        ([0, 3], [0, 1], [0, 0], r"class numbers must lie in 0\.\.2"),
        ([0, 1], [0, 3], [0, 0], r"class numbers must lie in 0\.\.2"),
        ([0, -1], [0, 1], [0, 0], r"class numbers must lie in 0\.\.2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(truth, predicted, groups, message):
    with pytest.raises(DataError, match=message):
        scores(np.array(truth), np.array(predicted), np.array(groups), 3)


def test_an_unknown_metric_is_refused():
    with pytest.raises(ConfigError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        score("acuracy", np.array([0]), np.array([0]), 2)
