"""Draws of clips, and steps that keep count of the loss."""

import pytest
import torch
from helpers.transfer_cases import examples
from torch import nn

from embcomp.errors import DataError
from embcomp.training.steps import Descent


def test_a_draw_follows_the_weights_and_is_cut_to_the_longest_clip():
    data, weights = examples(), torch.zeros(48)
    weights[[3, 7]] = torch.tensor([0.25, 0.75])
    rows, lengths, features = data.draw(weights, 400, torch.Generator().manual_seed(0))
    assert set(rows.tolist()) == {3, 7} and abs((rows == 7).float().mean() - 0.75) < 0.1
    longest = int(data.lengths[[3, 7]].max())
    assert torch.equal(lengths, data.lengths[rows]) and torch.equal(features, data.features[rows][..., :longest])


def test_steps_follow_the_sum_of_the_terms_and_means_start_anew():
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    descent = Descent(torch.optim.SGD(module.parameters(), lr=0.5))
    for number in range(2):
        weight = module.weight.sum()
        descent.step({"a": weight, "b": 2 * weight}, number)
    assert module.weight.item() == pytest.approx(1 - 2 * 0.5 * 3)
    assert descent.means() == {"a": pytest.approx((1 - 0.5) / 2), "b": pytest.approx(1 - 0.5)}
    descent.step({"a": module.weight.sum()}, 2)
    assert descent.means() == {"a": pytest.approx(-2.0)}


def test_a_loss_that_is_not_finite_moves_nothing():
    module = nn.Linear(1, 1)
    before = module.weight.item()
    descent = Descent(torch.optim.SGD(module.parameters(), lr=0.5))
    with pytest.raises(DataError, match=r"not finite at step 7 .*'a': -?inf"):
        descent.step({"a": module.weight.sum() * torch.inf, "b": module.weight.sum()}, 7)
    assert module.weight.item() == before
