"""A step of the optimiser is torch's, to the bit."""

from __future__ import annotations

import copy

import torch
from torch import nn

from embcomp.training.optimiser import SmallAdamW

SETTINGS = {"lr": 2e-3, "weight_decay": 1e-2, "fused": True}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))


def step(network, optimiser, number, frozen=False):
    optimiser.zero_grad()
    generator = torch.Generator().manual_seed(number)
    output = (
        network[0](torch.randn(4, 5, generator=generator))
        if frozen
        else network(torch.randn(4, 5, generator=generator))
    )
    output.square().sum().backward()
    optimiser.param_groups[0]["lr"] = 1e-3 * (number + 1)
    optimiser.step()


def same(one, other):
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values()))


def test_steps_are_those_of_torch_also_after_a_restart():
    ours, theirs = network(), network()
    own, other = SmallAdamW(ours.parameters(), **SETTINGS), torch.optim.AdamW(theirs.parameters(), **SETTINGS)
    for number in range(4):
        step(ours, own, number), step(theirs, other, number)
    assert own._known is not None and same(ours, theirs)
    again, state = copy.deepcopy(ours), copy.deepcopy(own.state_dict())
    resumed = SmallAdamW(again.parameters(), **SETTINGS)
    resumed.load_state_dict(state)
    own.load_state_dict(copy.deepcopy(other.state_dict()))
    for number in range(4, 8):
        step(ours, own, number), step(theirs, other, number), step(again, resumed, number)
    assert same(ours, theirs) and same(again, theirs)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    ours, theirs = network(), network()
    own, other = SmallAdamW(ours.parameters(), **SETTINGS), torch.optim.AdamW(theirs.parameters(), **SETTINGS)
    for number, frozen in enumerate([True, False, True, False, False]):
        step(ours, own, number, frozen), step(theirs, other, number, frozen)
        assert same(ours, theirs), number
