"""Every metric against scikit-learn: one label and several, classes without a clip, ties, unknown labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from embcomp.errors import DataError
from embcomp.metrics import METRICS, Rows, applicable, monitored, score, scores
from embcomp.metrics.classes import per_class

CLASSES = 5


def one_label(seed, clips=200, absent=(), coarse=False):
    """Class numbers and softmax probabilities; coarse ones have many ties."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([number for number in range(CLASSES) if number not in absent], clips)
    logits = rng.normal(size=(clips, CLASSES)) + 1.5 * np.eye(CLASSES)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, np.round(probabilities, 1) if coarse else probabilities


def several(seed, clips=200, unknown=0.3, coarse=False):
    """A matrix of labels with unknown ones, and sigmoid probabilities."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((clips, CLASSES)) < rng.uniform(0.1, 0.6, CLASSES)).astype(float)
    probabilities = 1 / (1 + np.exp(-rng.normal(size=truth.shape) - 2 * truth + 1))
    truth[rng.random(truth.shape) < unknown] = np.nan
    return truth, np.round(probabilities, 1) if coarse else probabilities


def over_classes(function, truth, probabilities, both=True):
    """Mean over classes of a binary metric on known labels; classes of one kind of label are left out."""
    found = []
    for column in range(CLASSES):
        known = ~np.isnan(truth[:, column])
        cells = truth[known, column]
        if cells.any() and (not both or not cells.all()):
            found.append(function(cells, probabilities[known, column]))
    return np.mean(found)


def one_against_rest(truth):
    return np.eye(CLASSES)[truth]


def calibration(confidence, right, bins=15):
    """Expected calibration error bin by bin, as Guo et al. 2017 write it."""
    total = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


SINGLE = {
    "accuracy": lambda y, p: reference.accuracy_score(y, p.argmax(1)),
    "balanced_accuracy": lambda y, p: reference.recall_score(y, p.argmax(1), labels=np.unique(y), average="macro"),
    "macro_f1": lambda y, p: reference.f1_score(y, p.argmax(1), labels=np.unique(y), average="macro", zero_division=0),
    "micro_f1": lambda y, p: reference.f1_score(y, p.argmax(1), average="micro"),
    "mAP": lambda y, p: over_classes(reference.average_precision_score, one_against_rest(y), p),
    "roc_auc": lambda y, p: over_classes(reference.roc_auc_score, one_against_rest(y), p),
    "top_3_accuracy": lambda y, p: reference.top_k_accuracy_score(y, p, k=3, labels=range(CLASSES)),
    "log_loss": lambda y, p: reference.log_loss(y, p, labels=range(CLASSES)),
    "ece": lambda y, p: calibration(p.max(1), p.argmax(1) == y),
}


def flat(y, p):
    known = ~np.isnan(y)
    return y[known], p[known]


def two_sided(y, p):
    return np.mean([reference.f1_score(y, p >= 0.5, pos_label=side) for side in (0, 1)])


SEVERAL = {
    "accuracy": lambda y, p: np.mean(flat(y, p)[0] == (flat(y, p)[1] >= 0.5)),
    "macro_f1": lambda y, p: over_classes(lambda a, b: reference.f1_score(a, b >= 0.5), y, p, both=False),
    "micro_f1": lambda y, p: reference.f1_score(flat(y, p)[0], flat(y, p)[1] >= 0.5),
    "two_sided_f1": lambda y, p: over_classes(two_sided, y, p),
    "mAP": lambda y, p: over_classes(reference.average_precision_score, y, p),
    "roc_auc": lambda y, p: over_classes(reference.roc_auc_score, y, p),
    "log_loss": lambda y, p: reference.log_loss(*flat(y, p), labels=[0, 1]),
    "ece": lambda y, p: np.mean([calibration(*flat(y[:, [c]], p[:, [c]])[::-1]) for c in range(CLASSES)]),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("absent", [(), (0,), (1, 4), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_one_label_agrees_with_scikit_learn(name, absent, seed):
    truth, probabilities = one_label(seed, absent=absent)
    expected = pytest.approx(SINGLE[name](truth, probabilities), abs=1e-9)
    assert score(name, truth, probabilities, CLASSES) == expected
    matrix = one_against_rest(truth)
    assert score(name, matrix, probabilities, CLASSES) == expected
    if name != "micro_f1":
        found = {one.name: one for one in scores(truth, probabilities, np.arange(200) % 9, CLASSES, bootstrap=3)}
        assert found[name].value == expected


@pytest.mark.parametrize("name", ["mAP", "roc_auc"])
@pytest.mark.parametrize("seed", range(3))
def test_ties_agree_with_scikit_learn(name, seed):
    truth, probabilities = one_label(seed, coarse=True)
    assert len(np.unique(probabilities)) < 12
    assert score(name, truth, probabilities, CLASSES) == pytest.approx(SINGLE[name](truth, probabilities), abs=1e-12)
    truth, probabilities = several(seed, coarse=True)
    found = score(name, truth, probabilities, CLASSES, multi_label=True)
    assert found == pytest.approx(SEVERAL[name](truth, probabilities), abs=1e-12)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("unknown", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_several_labels_agree_with_scikit_learn(name, unknown, seed):
    truth, probabilities = several(seed, unknown=unknown)
    found = score(name, truth, probabilities, CLASSES, multi_label=True)
    # Truth is kept in float32, probabilities clipped where float32 ends.
    assert found == pytest.approx(SEVERAL[name](truth, probabilities), abs=1e-9)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("column", [np.nan, 0.0, 1.0], ids=["unknown", "never", "always"])
def test_a_class_of_one_kind_of_label_does_not_spoil_the_mean(name, column):
    truth, probabilities = several(0)
    truth[:, 2] = column
    found = score(name, truth, probabilities, CLASSES, multi_label=True)
    if name in ("log_loss", "accuracy", "micro_f1", "ece"):  # these ask nothing of a class but a known label
        kept = [0, 1, 3, 4] if np.isnan(column) else list(range(CLASSES))
        others = score(name, truth[:, kept], probabilities[:, kept], len(kept), multi_label=True)
    else:
        others = SEVERAL[name](truth, probabilities)
    assert found == pytest.approx(others, abs=1e-9)


@pytest.mark.parametrize("name", ["mAP", "roc_auc", "two_sided_f1"])
def test_nothing_to_tell_apart_has_no_score(name):
    truth, probabilities = several(0)
    assert np.isnan(score(name, np.ones_like(truth), probabilities, CLASSES, multi_label=True))
    if name != "two_sided_f1":
        assert np.isnan(score(name, np.zeros(200, dtype=int), probabilities, CLASSES))


def test_two_classes_of_one_label_are_the_binary_numbers():
    truth, probabilities = one_label(1, absent=(2, 3, 4))
    second = probabilities[:, 1] / probabilities[:, :2].sum(axis=1)
    pair = np.stack([1 - second, second], axis=1)
    assert score("roc_auc", truth, pair, 2) == pytest.approx(reference.roc_auc_score(truth, second))


def test_the_threshold_is_the_callers():
    truth, probabilities = several(0)
    low, high = (
        score("two_sided_f1", truth, probabilities, CLASSES, multi_label=True, threshold=at) for at in (0.4, 0.5)
    )
    lowered = over_classes(
        lambda y, p: np.mean([reference.f1_score(y, p >= 0.4, pos_label=side) for side in (0, 1)]), truth, probabilities
    )
    assert low == pytest.approx(lowered) and low != high


@pytest.mark.parametrize("name", ["mAP", "roc_auc"])
def test_each_students_clips_are_ranked_among_themselves(name):
    truth, probabilities = one_label(0)
    students = np.repeat([0, 1], 100)
    each = np.mean([SINGLE[name](truth[students == s], probabilities[students == s]) for s in (0, 1)])
    # A student that is less sure of everything ranks its own clips the same.
    probabilities[students == 1] *= 0.1
    found = {one.name: one.value for one in scores(truth, probabilities, np.arange(200), CLASSES, students=students)}
    assert found[name] == pytest.approx(each, abs=1e-12)


@pytest.mark.parametrize("multi_label", [False, True], ids=["one", "several"])
def test_weights_of_groups_are_repeated_clips(multi_label):
    """A bootstrap replicate is what the metric is on a set where each group stands as often as it was drawn."""
    from embcomp.metrics import Bound, bind

    truth, probabilities = several(3, coarse=True) if multi_label else one_label(3, coarse=True)
    groups = np.random.default_rng(0).integers(0, 6, 200)
    weights = np.array([2, 0, 1, 3, 0, 1])
    repeated = np.repeat(np.arange(200), weights[groups])
    bound = Bound(Rows.of(truth, probabilities, CLASSES, groups, multi_label=multi_label))
    for name in applicable(CLASSES, multi_label):
        found = bind(name, bound)(weights[:, None].astype(float))[0]
        again = score(name, truth[repeated], probabilities[repeated], CLASSES, multi_label=multi_label)
        assert found == pytest.approx(again, abs=1e-12), name


def test_confidence_on_an_edge_belongs_to_the_bin_below():
    # 3/15 exactly: with 0.15 it fills one bin, with 0.21 it does not.
    probabilities = np.array([[0.2, 0.8], [0.15, 0.85], [0.21, 0.79]])
    truth = np.array([[1, 0], [0, 0], [0, 0]])
    first = (abs(1 - 0.2 - 0.15) + 0.21) / 3
    second = abs(0.8 + 0.85 + 0.79) / 3  # of other bins, where nothing applies
    assert score("ece", truth, probabilities, 2, multi_label=True) == pytest.approx((first + second) / 2)


def test_a_sure_error_costs_a_finite_loss():
    assert score("log_loss", np.array([0]), np.array([[0.0, 1.0]]), 2) == pytest.approx(23 * np.log(2), rel=1e-3)


def test_what_is_reported_fits_the_labels():
    assert applicable(3, False, probabilities=False) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert "top_3_accuracy" in applicable(4, False) and "top_3_accuracy" not in applicable(3, False)
    assert "two_sided_f1" in applicable(2, True) and "balanced_accuracy" not in applicable(2, True)
    assert not METRICS["log_loss"].higher_is_better and not METRICS["ece"].higher_is_better
    assert monitored("balanced_accuracy", True) == "mAP" and monitored("macro_f1", True) == "macro_f1"
    with pytest.raises(DataError, match="balanced_accuracy is not for several labels per clip of 3 classes; take one"):
        score("balanced_accuracy", np.ones((1, 3)), np.ones((1, 3)), 3, multi_label=True)


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        (np.array([0]), np.array([[2.0, 0.1]]), "probabilities must lie in 0..1"),
        (np.array([0]), np.array([[np.nan, 0.1]]), "probabilities must lie in 0..1"),
        (np.array([0]), np.array([[0.5, 0.1, 0.4]]), "expected 2 columns"),
        (np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]), "matrix of 1"),
        (np.array([[1, 1]]), np.array([[0.5, 0.5]]), "say multi_label=True"),
    ],
)
def test_arrays_that_are_no_predictions_are_refused(truth, probabilities, message):
    with pytest.raises(DataError, match=message):
        score("accuracy", truth, probabilities, 2)


def test_the_table_of_classes_agrees_with_scikit_learn():
    truth, probabilities = one_label(0, absent=(3,))
    table = per_class(Rows.of(truth, probabilities, CLASSES), tuple("abcde"))
    expected = reference.precision_recall_fscore_support(
        truth, probabilities.argmax(1), labels=range(CLASSES), zero_division=np.nan
    )
    there = table["support"] > 0
    np.testing.assert_array_equal(table["support"], expected[3])
    np.testing.assert_allclose(table["precision"], expected[0])
    np.testing.assert_allclose(table["recall"][there], expected[1][there])
    np.testing.assert_allclose(table["f1"][there], expected[2][there])
    assert table.loc[3, ["recall", "f1", "average_precision", "roc_auc"]].isna().all()
    binary = one_against_rest(truth)[:, 0]
    assert table.loc[0, "average_precision"] == pytest.approx(
        reference.average_precision_score(binary, probabilities[:, 0])
    )
    assert table.loc[0, "roc_auc"] == pytest.approx(reference.roc_auc_score(binary, probabilities[:, 0]))


def test_the_table_of_classes_counts_known_labels_only():
    truth, probabilities = several(0)
    table = per_class(Rows.of(truth, probabilities, CLASSES, multi_label=True), tuple("abcde"))
    np.testing.assert_array_equal(table["known"], (~np.isnan(truth)).sum(axis=0))
    np.testing.assert_array_equal(table["support"], np.nansum(truth, axis=0))
