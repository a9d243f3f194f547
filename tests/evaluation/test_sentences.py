"""What comparisons are said to support, word for word, on tables made by hand; and which groups are swapped."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
from helpers.documented import named

from embcomp.evaluation.comparison import COLUMNS, _swaps, compare, sentence


def row(**changed) -> dict:
    common = {"variant": "b", "baseline": "a", "metric": "accuracy", "difference": 0.25, "low": 0.125, "high": 0.375}
    common |= {"p": 0.01, "p_corrected": 0.02, "p_smallest": 0.001, "n_groups": 10, "n_clips": 40}
    return {**common, **changed}


def said(*rows: dict, unit: str = "group") -> str:
    return sentence(pd.DataFrame(rows, columns=COLUMNS), unit)


CLAIM = "'b' is better than 'a' by 0.250 [+0.125, +0.375], p = 0.02"
UNITS = {
    "group": "accuracy over 10 groups (40 clips)",
    "file": "accuracy over 10 files (40 clips), no groups given",
    "clip": "accuracy over 10 clips, no groups given",
}


@pytest.mark.parametrize("unit", UNITS)
def test_what_was_resampled_is_called_by_its_name(unit):
    assert said(row(), unit=unit) == f"In {UNITS[unit]}, of the students trained here, {CLAIM}."


@pytest.mark.parametrize(
    ("metric", "difference", "side"),
    [("accuracy", 0.25, "better"), ("accuracy", -0.25, "worse"), ("ece", 0.25, "worse"), ("ece", -0.25, "better")],
)
def test_better_is_higher_or_lower_by_the_metric(metric, difference, side):
    assert f"'b' is {side} than 'a' by 0.250" in said(row(metric=metric, difference=difference))


def test_a_difference_without_an_interval_or_of_nothing_is_said_so():
    assert "by 0.250, p = 0.02." in said(row(low=np.nan, high=np.nan))
    assert said(row(difference=0.0, p=1.0, p_corrected=1.0)).endswith(
        "is supported: the largest difference measured: none at all between 'b' and 'a'."
    )


@pytest.mark.parametrize("corrected, supported", [(0.0499, True), (0.05, False), (0.0501, False)])
def test_below_one_in_twenty_after_correction_is_supported(corrected, supported):
    assert said(row(p_corrected=corrected)).startswith("In ") == supported


@pytest.mark.parametrize("smallest, can", [(0.0499, True), (0.05, False), (0.0501, False)])
def test_what_no_p_can_reach_is_said(smallest, can):
    text = said(row(p_corrected=0.5, p_smallest=smallest))
    assert text.startswith("No difference in accuracy over 10 groups (40 clips)")
    assert (f"with 10 groups no p can fall below {smallest:.2g}; the largest" not in text) == can


def test_with_few_groups_their_number_and_that_of_the_comparisons_are_said():
    few = {"p": 0.5, "p_corrected": 1.0, "p_smallest": 0.5, "n_groups": 1}
    assert "over 1 group (40 clips) can be supported: with 1 group no p" in said(row(**few))
    rows = [row(**few, difference=-0.5), row(**few | {"p_smallest": 0.25}, variant="c")]
    text = said(*rows)
    assert "with 1 group and 2 comparisons no p can fall below 0.25; the largest difference" in text
    assert text.endswith("measured: 'b' is worse than 'a' by 0.500 [+0.125, +0.375], p = 1.")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_up_to_three_pairs_without_support_are_named(count):
    others = [row(variant=f"v{number}", p_corrected=0.5) for number in range(count)]
    named = ", ".join(f"'v{number}' and 'a'" for number in range(count))
    end = f"; no difference is supported between {named}" if count else ""
    end = end if count < 4 else "; no difference is supported in the other 4 comparisons"
    assert said(row(), *others).endswith(f"students trained here, {CLAIM}{end}.")


def test_all_supported_differences_are_said_and_undefined_ones_left_out():
    text = said(row(), row(variant="c", p=np.nan, p_corrected=np.nan, difference=np.nan), row(variant="d"))
    assert text.endswith(f"{CLAIM}; {CLAIM.replace(chr(39) + 'b', chr(39) + 'd')}.") and "'c'" not in text
    assert said(row(p=np.nan)).startswith("Nothing could be compared")


@pytest.mark.parametrize("groups", [1, 2, 3, 12])
def test_every_way_to_swap_groups_comes_once_up_to_its_mirror(groups):
    parts = list(_swaps(groups, 1, True, 0))
    assert all(part.shape[1] == 1000 for part in parts[:-1]) and parts[-1].shape[1] <= 1000
    ways = np.concatenate(parts, axis=1).T
    assert set(np.unique(ways)) <= {0.0, 1.0} and not ways[0].any()
    both = {tuple(way) for way in [*ways, *(1 - ways)]}
    assert len(ways) == 2 ** (groups - 1) and len(both) == 2**groups


def test_random_swaps_are_fair_and_as_many_as_asked_for():
    parts = list(_swaps(4, 2500, False, 3))
    assert [part.shape for part in parts] == [(4, 1000), (4, 1000), (4, 500)]
    ways = np.concatenate(parts, axis=1)
    assert set(np.unique(ways)) == {0.0, 1.0}
    assert np.abs(ways.mean(axis=1) - 0.5).max() < 0.05 and np.abs(np.corrcoef(ways) - np.eye(4)).max() < 0.08


def test_defaults_are_those_that_the_docstrings_name_and_those_of_a_comparison():
    found = list(named("embcomp.evaluation"))
    assert len(found) >= 14
    assert [one for one in found if one[2] != one[3] or type(one[2]) is not type(one[3])] == []
    found = {name: one.default for name, one in inspect.signature(compare).parameters.items()}
    assert {name: found[name] for name in list(found)[2:]} == {
        "metric": None,
        "all_pairs": False,
        "correction": "holm",
        "threshold": 0.5,
        "bootstrap": 1000,
        "confidence": 0.95,
        "permutations": 10_000,
        "seed": 0,
    }
