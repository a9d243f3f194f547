from __future__ import annotations

import pytest
import torch
from helpers.settings import student_settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from embcomp.config import AudioConfig
from embcomp.students import STUDENTS
from embcomp.students.classifier import Classifier
from embcomp.students.cost import count_macs, latency, machine, student_cost


def student(kind: str = "ds_cnn", seconds: float = 0.5) -> Classifier:
    return Classifier.new(("a", "b", "c"), AudioConfig(seconds=seconds), student_settings(kind=kind), False, 0)


@pytest.mark.parametrize("kind", [student.name for student in STUDENTS if "audio" in student.takes])
def test_macs_are_half_of_torchs_own_count(kind):
    classifier = student(kind)
    network = classifier.network.eval()
    inputs = torch.zeros(1, 64, 26), torch.tensor([26])
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(*inputs)
    cost = student_cost(classifier)
    assert 2 * cost.macs == counter.get_total_flops() > 0
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert cost.seconds == 0.5


def test_macs_by_hand():
    assert count_macs(nn.Conv2d(4, 6, 3, padding=1), torch.zeros(1, 4, 5, 7)) == 5 * 7 * 6 * 4 * 9
    assert count_macs(nn.Conv2d(4, 8, (3, 1), groups=4), torch.zeros(1, 4, 5, 7)) == 3 * 7 * 8 * 3
    shared = nn.Linear(5, 5)
    assert count_macs(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(1, 5)) == 2 * 25


def test_counting_leaves_no_trace():
    network = student().network.train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, torch.zeros(1, 64, 26), torch.tensor([26]))
    assert network.training and not any(layer._forward_hooks for layer in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    with pytest.raises(RuntimeError):
        count_macs(network, torch.zeros(1, 3, 26), torch.tensor([26]))
    assert network.training and not any(layer._forward_hooks for layer in network.modules())


def test_longer_clips_cost_more():
    assert student_cost(student(seconds=2.0)).macs > 3 * student_cost(student()).macs
    assert student_cost(student(seconds=2.0)).parameters == student_cost(student()).parameters


def test_latency_is_a_time_and_threads_stay():
    before = torch.get_num_threads()
    assert 0 < latency(student(), repeats=3) < 10
    assert torch.get_num_threads() == before
    assert "(" in machine()
