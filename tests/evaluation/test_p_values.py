"""P-values against Fisher's randomisation test written as loops over clips, and never 0."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata

from embcomp.evaluation.comparison import compare
from embcomp.evaluation.scores import Predictions
from embcomp.metrics import score

CLASSES = ("a", "b")


def pair(groups: int, first: float, second: float, clips: int = 4) -> dict[str, list[Predictions]]:
    """Two variants, right for this share of the clips of groups of different sizes."""
    rng = np.random.default_rng(groups)
    group = np.concatenate([[f"g{number}"] * (clips + number % 3) for number in range(groups)]).astype(object)
    ids = np.array([f"clip{row}" for row in range(len(group))], dtype=object)
    truth = np.arange(len(group)) % 2
    found = {}
    for name, skill in (("x", first), ("y", second)):
        right = rng.random(len(group)) < skill
        sure = np.where(right, 0.6, 0.4) + 0.3 * rng.random(len(group)) * np.where(right, 1, -1)
        likely = np.stack([np.where(truth == 0, sure, 1 - sure), np.where(truth == 1, sure, 1 - sure)], axis=1)
        matrix = np.eye(2, dtype=np.float32)[truth]
        found[name] = [Predictions(ids, group, matrix, likely.astype(np.float32), CLASSES, False)]
    return found


def by_loops(both: dict[str, list[Predictions]], metric: str) -> float:
    """Share of all ways to swap whole groups whose difference is no smaller."""
    (x,), (y,) = both["x"], both["y"]
    names = sorted(set(x.groups))

    def difference(swapped: tuple[bool, ...]) -> float:
        turned = dict(zip(names, swapped))
        turn = np.array([turned[name] for name in x.groups])
        truth = x.truth.argmax(1)
        one, other = np.where(turn, y.predicted, x.predicted), np.where(turn, x.predicted, y.predicted)
        return score(metric, truth, other, 2) - score(metric, truth, one, 2)

    observed = abs(difference((False,) * len(names)))
    every = [abs(difference(way)) for way in itertools.product((False, True), repeat=len(names))]
    return float(np.mean([one >= observed - 1e-9 for one in every]))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_exact_p_is_that_of_every_way_to_swap_groups(metric):
    both = pair(7, 0.5, 0.8)
    assert compare(both, "x", metric).iloc[0]["p"] == pytest.approx(by_loops(both, metric))


@pytest.mark.parametrize("metric", ["roc_auc", "mAP"])
def test_the_exact_p_of_a_ranking_swaps_ranks_within_each_student(metric):
    """Two students whose probabilities, and those of the two variants, lie on different scales."""
    both = {name: [*pieces, *pair(6, *skills)[name]] for (name, pieces), skills in zip(
        pair(6, 0.4, 0.9).items(), ((0.5, 0.5), (0.3, 0.7)))}  # fmt: skip
    both["y"] = [
        Predictions(one.ids, one.groups, one.truth, 0.3 + 0.2 * one.probabilities, CLASSES) for one in both["y"]
    ]
    ranks = {
        name: [rankdata(one.probabilities, axis=0) / len(one.ids) for one in pieces] for name, pieces in both.items()
    }
    names = sorted(set(both["x"][0].groups))

    def difference(way):
        turned, found = dict(zip(names, way)), []
        for one, x, y in zip(both["x"], ranks["x"], ranks["y"]):
            turn = np.array([turned[name] for name in one.groups])[:, None]
            values = [score(metric, one.truth.argmax(1), np.where(turn, *some), 2) for some in ((x, y), (y, x))]
            found.append(values[0] - values[1])
        return abs(np.mean(found))

    every = [difference(way) for way in itertools.product((False, True), repeat=len(names))]
    expected = np.mean([one >= every[0] - 1e-9 for one in every])
    assert 0 < expected < 1
    row = compare(both, "x", metric, bootstrap=2).iloc[0]
    assert row["p"] == pytest.approx(expected) and row["difference"] == pytest.approx(every[0])


def test_rankings_are_given_at_most_a_thousand_random_swaps():
    row = compare(pair(40, 0.5, 0.6, clips=1), "x", "mAP", bootstrap=2).iloc[0]
    assert row["p_smallest"] == 1 / 1001
    assert compare(pair(40, 0.5, 0.6, clips=1), "x", "mAP", bootstrap=2, permutations=9).iloc[0]["p_smallest"] == 0.1


@pytest.mark.parametrize("permutations", [1, 9, 99])
def test_of_random_swaps_the_observed_one_counts_too(permutations):
    """However large the difference, p is a whole number of (permutations + 1)ths and not 0 (Phipson & Smyth 2010)."""
    row = compare(pair(40, 0.0, 1.0), "x", "accuracy", permutations=permutations).iloc[0]
    assert row["difference"] == 1.0
    assert row["p"] == row["p_smallest"] == pytest.approx(1 / (permutations + 1))


@pytest.mark.parametrize("metric", ["accuracy", "mAP", "log_loss"])
def test_no_p_is_0_and_none_above_1(metric):
    for groups, first, second in itertools.product((2, 5, 12, 20), (0.1, 0.5), (0.5, 0.95)):
        row = compare(pair(groups, first, second), "x", metric, permutations=64, bootstrap=5).iloc[0]
        assert row["p_smallest"] <= row["p"] <= 1 and row["p"] > 0


@pytest.mark.parametrize("metric", ["mAP", "roc_auc", "accuracy", "balanced_accuracy"])
def test_a_monotone_change_of_both_variants_probabilities_changes_nothing(metric):
    """Of two classes: the larger one stays the larger one, and every order is kept."""
    both, bent = pair(10, 0.6, 0.8), {}
    for name, (one,) in both.items():
        odds = (one.probabilities[:, 1:] / one.probabilities[:, :1]).astype(np.float64) ** 3
        likely = np.concatenate([1 / (1 + odds), odds / (1 + odds)], axis=1)
        bent[name] = [Predictions(one.ids, one.groups, one.truth, likely, CLASSES, False)]
    columns = ["difference", "low", "high", "p"]
    before, after = (compare(pieces, "x", metric, permutations=100)[columns].to_numpy() for pieces in (both, bent))
    np.testing.assert_allclose(after, before, atol=1e-6)
