"""How long a training is, and what becomes of its weights on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.transfer_cases import FAST, examples, new_student, prepared
from torch import nn

from embcomp.config import TrainingConfig, parse
from embcomp.errors import ConfigError
from embcomp.training.averaging import AveragedWeights
from embcomp.training.examples import steps_of
from embcomp.training.loop import train
from embcomp.transfer import Transfer


def fast(**settings):
    return TrainingConfig(**{**FAST.__dict__, **settings})


def test_epochs_are_passes_over_the_labelled_clips():
    labels = examples(48).labels
    assert steps_of(fast(epochs=3.0), labels) == 9  # 48 clips in batches of 16
    assert steps_of(fast(epochs=0.5), labels) == 2
    assert steps_of(fast(epochs=0.0, steps=7), labels) == 7
    some = examples(48, unlabelled=32).labels  # half of each batch is labelled, though a third of the clips is
    assert steps_of(fast(epochs=3.0, labelled=0.5), some) == 6
    assert steps_of(fast(epochs=3.0, labelled=0.0), some) == 9
    result = train(new_student(), Transfer(), examples(), examples(seed=1), fast(epochs=2.0), seed=0)
    assert result.history[-1]["step"] == 6


def test_minutes_end_a_training_and_its_schedule():
    config = fast(minutes=0.6 / 60, steps=10**6, evaluate_every=10**6)
    result = train(new_student(), Transfer(), examples(), examples(seed=1), config, seed=0)
    assert result.history[-1]["step"] < 10**5  # and not a million; how many depends on the machine


def test_two_lengths_are_refused():
    with pytest.raises(ConfigError, match="set one to 0"):
        parse({"training": {"epochs": 3.0, "minutes": 1.0}})


def test_the_average_is_its_recursion_and_forgets_the_start():
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(3)
    averaged = AveragedWeights(layer, 0.9)
    expected, values = layer.weight.detach().clone(), []
    for step in range(1, 40):
        nn.init.normal_(layer.weight)
        layer.running_mean.fill_(step)
        layer.num_batches_tracked.fill_(step)
        averaged.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
        values.append(float(averaged.average.running_mean[0]))
    torch.testing.assert_close(averaged.average.weight.detach(), expected)
    assert averaged.average.num_batches_tracked == 39
    assert values[0] == pytest.approx(1 - 2 / 11) and 34 < values[-1] < 36  # lags by a few steps
    assert not averaged.average.weight.requires_grad


def test_no_averaging_is_the_module_itself():
    layer = nn.Linear(2, 2)
    averaged = AveragedWeights(layer, 0.0)
    averaged.update()
    assert averaged.average is layer


def test_the_student_gets_the_averaged_weights_that_validated_best():
    plain, averaged = new_student(), new_student()
    train(plain, Transfer(), examples(), examples(seed=1), fast(), seed=0)
    result = train(averaged, Transfer(), examples(), examples(seed=1), fast(averaging=0.99), seed=0)
    assert result.best_score > 0.5 and all(parameter.requires_grad for parameter in averaged.parameters())
    assert not torch.equal(plain.project.weight, averaged.project.weight)


def test_an_interrupted_averaging_goes_on_with_the_same_weights(tmp_path):
    config, path = fast(averaging=0.95, checkpoint_every=10, steps=40), tmp_path / "checkpoint.pt"
    whole, resumed = new_student(), new_student()
    expected = train(whole, Transfer(), examples(), examples(seed=1), config, seed=3)

    def stop(step):
        stop.done += step
        if stop.done == 25:
            raise KeyboardInterrupt

    stop.done = 0
    with pytest.raises(KeyboardInterrupt):
        train(new_student(), Transfer(), examples(), examples(seed=1), config, seed=3, checkpoint=path, progress=stop)
    found = train(resumed, Transfer(), examples(), examples(seed=1), config, seed=3, checkpoint=path)
    assert found.history == expected.history
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))


@pytest.mark.parametrize("method", ["embedding", "compressed", "regression", "classifier_reuse"])
def test_before_labels_only_targets_teach(method):
    transfer = prepared(method, examples(), label_free=0.5, weight=0.3)
    seen = []
    loss = transfer.loss

    def watched(output, batch):
        terms = loss(output, batch)
        seen.append((batch.progress, float(terms["prediction"].detach())))
        return terms

    transfer.loss = watched
    result = train(new_student(), transfer, examples(), examples(seed=1), fast(steps=20, evaluate_every=5), seed=0)
    assert [step["step"] for step in result.history] == [15, 20]
    assert all((value == 0) == (progress < 0.5) for progress, value in seen)
    assert np.isfinite(result.best_score)
