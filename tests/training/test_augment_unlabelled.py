"""Clips without a label may have an augmentation of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.transfer_cases import FAST, examples, new_student, prepared

from embcomp.config import TrainingConfig, parse
from embcomp.config.sections import AUGMENTATIONS
from embcomp.errors import ConfigError
from embcomp.training.augment import augmented, augmented_apart
from embcomp.training.loop import train

NONE = TrainingConfig(freq_mask=0, time_mask=0.0, roll=0.0, gain=0.0, equaliser=0.0)
SOME = {"freq_mask": 6, "time_mask": 0.4, "roll": 0.4, "gain": 9.0, "equaliser": 9.0, "mixstyle": 1.0}


def batch():
    data = examples(12)
    unlabelled = torch.arange(12) % 3 == 0
    return data.features, data.lengths, unlabelled


def changed(before, after):
    return (before != after).flatten(1).any(1)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_the_clips_it_is_for(name):
    features, lengths, unlabelled = batch()
    config = replace(NONE, **{f"unlabelled_{name}": SOME[name]})
    after = augmented_apart(features, lengths, unlabelled, config, torch.Generator().manual_seed(0))
    assert not changed(features, after)[~unlabelled].any() and changed(features, after)[unlabelled].any()
    config = replace(NONE, **{name: SOME[name], f"unlabelled_{name}": 0})
    after = augmented_apart(features, lengths, unlabelled, config, torch.Generator().manual_seed(0))
    assert changed(features, after)[~unlabelled].any() and not changed(features, after)[unlabelled].any()


def test_without_settings_of_their_own_nothing_is_drawn_otherwise():
    features, lengths, unlabelled = batch()
    config = TrainingConfig(equaliser=5.0)
    one, other = (torch.Generator().manual_seed(0) for _ in range(2))
    found = augmented_apart(features, lengths, unlabelled, config, one)
    assert torch.equal(found, augmented(features, lengths, config, other))
    assert torch.equal(one.get_state(), other.get_state())
    assert config.key() == {name: value for name, value in config.key().items() if not name.startswith("unlabelled_")}
    assert "unlabelled_gain" in replace(config, unlabelled_gain=0.0).key()


def test_a_batch_of_one_kind_is_one_call():
    features, lengths, _ = batch()
    config = TrainingConfig(unlabelled_gain=0.0)
    for chosen, settings in ((torch.zeros(12, dtype=torch.bool), config), (torch.ones(12, dtype=torch.bool), replace(config, gain=0.0))):  # fmt: skip
        found = augmented_apart(features, lengths, chosen, config, torch.Generator().manual_seed(0))
        assert torch.equal(found, augmented(features, lengths, settings, torch.Generator().manual_seed(0)))


def test_the_loop_knows_which_clips_have_no_label(monkeypatch):
    data, seen = examples(48, unlabelled=20), []

    def spy(features, lengths, unlabelled, config, generator, share=None):
        seen.append(unlabelled)
        return augmented_apart(features, lengths, unlabelled, config, generator)

    monkeypatch.setattr("embcomp.training.loop.augmented_apart", spy)
    transfer = prepared("embedding", data)
    loss, rows = transfer.loss, []
    transfer.loss = lambda output, batch: rows.append(batch) or loss(output, batch)
    config = replace(FAST, steps=3, labelled=0.5, unlabelled_gain=12.0)
    train(new_student(), transfer, data, examples(seed=1), config, seed=0)
    assert len(seen) == 3
    for unlabelled, one in zip(seen, rows):
        assert torch.equal(unlabelled, one.rows >= 28) and torch.equal(unlabelled, one.labels.isnan().all(1))


@pytest.mark.parametrize(
    ("training", "more", "message"),
    [
        ({"unlabelled_gain": -2}, {}, "at least -1"),
        ({"unlabelled_time_mask": 0.6}, {}, "at most 0.5"),
        ({"unlabelled_gain": 3, "views": 1}, {}, "training.unlabelled_gain changes log-mels, and with training.views"),
        ({"unlabelled_roll": 0.1, "roll": 0}, {"transfer": {"method": "embedding", "frames": True}}, "unlabelled_roll"),
        (
            {"unlabelled_gain": 3},
            {"data": {"inputs": "images", "input_file": "x.npy"}},
            "unlabelled_gain changes log-mels",
        ),
    ],
)
def test_what_cannot_be_is_refused(training, more, message):
    with pytest.raises(ConfigError, match=message):
        parse({"training": training, **more})
