"""Which of several splits is taken, by an independent search through all of them; and halves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from embcomp.data.splits import group_folds, halves, only_groups, validation_split
from embcomp.errors import ManifestError

ATTEMPTS = 4
pytestmark = pytest.mark.filterwarnings("ignore:The least populated class")


def ring(number):
    """Groups in a ring, each sharing a class with either neighbour: in whatever order they are dealt, some splits lose a class."""
    count = 4 + 2 * (number // 3 % 3)
    groups = np.repeat(np.arange(count), 6)
    return (groups + np.arange(len(groups)) % 2) % count, groups


def every_split(strata, groups, folds, seed):
    """(attempt, rows to learn from, rows held out) of all attempts."""
    free = ~only_groups(strata, groups)
    for attempt in range(ATTEMPTS):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + 1000 * attempt)
        for _, held in splitter.split(np.zeros(free.sum()), strata[free], groups[free].astype(str)):
            out = np.zeros(len(strata), dtype=bool)
            out[np.flatnonzero(free)[held]] = True
            yield attempt, np.flatnonzero(~out), np.flatnonzero(out)


def test_folds_are_of_the_first_attempt_that_loses_the_fewest_classes():
    attempts = []
    for seed in (*range(32), 103, 111, 127):
        strata, groups = ring(seed)
        if seed > 100:  # groups of different sizes: a class may be missing from a test without being lost
            rng = np.random.default_rng(seed)
            groups = np.repeat(np.arange(8), rng.integers(1, 8, 8))
            strata = rng.integers(0, 4, len(groups))
        else:
            strata[strata == seed % 5] = -1  # without a label: no class that could be lost
        folds = 2 + seed % 2
        losses = np.zeros(ATTEMPTS)
        for attempt, train, test in every_split(strata, groups, folds, seed):
            losses[attempt] += len(set(strata[test]) - set(strata[train]) - {-1}) + (len(test) == 0)
        best = int(np.argmin(losses))
        expected = [test.tolist() for attempt, _, test in every_split(strata, groups, folds, seed) if attempt == best]
        assert [fold.test.tolist() for fold in group_folds(strata, groups, folds, seed)] == expected
        attempts.append(best)
    assert {0, 1} <= set(attempts)


def test_validation_rows_are_the_best_of_all_splits():
    attempts = []
    for seed in range(24):
        share = (0.2, 0.35, 0.5)[seed % 3]
        strata, groups = ring(seed)
        count = min(round(1 / share), len(set(groups)))

        def rank(split, share=share, strata=strata):
            attempt, fit, held = split
            lost, missing = (len(set(strata) - set(strata[part])) for part in (fit, held))
            return lost, missing, attempt, abs(len(held) / len(strata) - share)

        best = min((one for one in every_split(strata, groups, count, seed) if len(one[2])), key=rank)
        if rank(best)[0]:
            with pytest.raises(ManifestError, match="takes a class wholly out of training"):
                validation_split(strata, groups, share, seed)
            continue
        fit, held = validation_split(strata, groups, share, seed)
        assert (fit.tolist(), held.tolist()) == (best[1].tolist(), best[2].tolist())
        attempts.append(best[0])
    assert {0, 1} <= set(attempts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 5))
def test_halves_share_no_group_and_differ_by_no_more_than_the_largest(sizes, seed):
    groups = np.repeat([f"g{number}" for number in range(len(sizes))], sizes)
    first, second = halves(groups, seed)
    assert sorted([*first, *second]) == list(range(len(groups)))
    assert not set(groups[first]) & set(groups[second])
    assert abs(len(first) - len(second)) <= max(sizes)
    assert len(first) and len(second)


def test_halves_of_equal_groups_are_equal_and_differ_with_the_seed():
    groups = [f"g{number}" for number in range(10)]
    found = [tuple(halves(groups, seed)[0]) for seed in range(5)]
    assert {len(first) for first in found} == {5}
    assert len(set(found)) > 1
    assert [len(part) for part in halves(["a", "a", "b"], 0)] in ([1, 2], [2, 1])
    # Runs that were interrupted go on with the halves they had.
    assert [part.tolist() for part in halves(list("aabbbcd"), 0)] == [[0, 1, 6], [2, 3, 4, 5]]
    with pytest.raises(ManifestError, match="2 clips are all of one group, 'a'"):
        halves(["a", "a"], 0)
