"""The best weights are kept, and patience ends."""

import torch
from torch import nn

from embcomp.learning import EarlyStopping


def offer(stopping, *score):
    """Offer a score, the weights saying which it was."""
    with torch.no_grad():
        stopping.module.weight.fill_(score[0])
    return stopping.offer(*score)


def test_the_best_weights_come_back_and_later_changes_do_not_reach_them():
    module = nn.Linear(3, 2)
    stopping = EarlyStopping(module, patience=0)
    assert [offer(stopping, score) for score in (0.25, 0.75, 0.5)] == [True, True, False]
    stopping.restore()
    assert (module.weight == 0.75).all() and stopping.best == (0.75,)


def test_patience_counts_checks_since_the_best_and_none_is_for_ever():
    stopping, patient = (EarlyStopping(nn.Linear(3, 2), patience) for patience in (2, 0))
    found = []
    for score in (1.0, 0.0, 2.0, 0.0, 2.0):
        offer(stopping, score)
        offer(patient, score)
        found.append(stopping.exhausted)
    assert found == [False, False, False, False, True] and not patient.exhausted


def test_the_second_score_decides_ties():
    stopping = EarlyStopping(nn.Linear(3, 2), patience=5)
    offers = [(1.0, -3.0), (1.0, -4.0), (1.0, -2.0), (0.5, 9.0)]
    assert [stopping.offer(*score) for score in offers] == [True, False, True, False]
    assert stopping.best == (1.0, -2.0) and stopping.waited == 1


def test_anything_is_better_than_nan_and_nan_better_than_nothing():
    stopping = EarlyStopping(nn.Linear(3, 2), patience=5)
    assert [stopping.offer(score) for score in (float("nan"), 0.5, float("nan"))] == [True, True, False]


def test_the_first_score_that_is_a_number_is_better_than_nan_whatever_decides_ties():
    stopping = EarlyStopping(nn.Linear(3, 2), patience=3)
    nan = float("nan")
    assert offer(stopping, nan, -1.0) and offer(stopping, 0.25, -1.0)
    assert not offer(stopping, nan, 0.0) and not offer(stopping, 0.25, -2.0) and offer(stopping, 0.25, -0.5)


def test_before_the_first_check_nothing_is_best_and_nobody_has_waited():
    stopping = EarlyStopping(nn.Linear(3, 2), patience=1)
    assert (stopping.best, stopping.state, stopping.waited, stopping.exhausted) == (None, {}, 0, False)
