"""The student that is kept is the one that validated best, also where every later step makes it worse."""

from __future__ import annotations

import pytest
import torch
from helpers.transfer_cases import examples, new_student

from embcomp.config import TrainingConfig
from embcomp.training import loop
from embcomp.training.loop import train
from embcomp.transfer import Transfer

EVERY, PATIENCE = 2, 3
CONFIG = TrainingConfig(
    steps=40, batch_size=8, evaluate_every=EVERY, checkpoint_every=1, patience=PATIENCE, learning_rate=5e-3,
)  # fmt: skip


class Interrupted(Exception):
    pass


@pytest.fixture
def scored(monkeypatch):
    """Validation that rises up to its third time and then falls; the weights and the scores it saw, in order."""
    seen = []

    def validate(student, held, monitor, group):
        state = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        number = scored.done + len(seen)
        seen.append(state)
        return (float(number) if number < 3 else 1.0 / number), 1.0

    monkeypatch.setattr(loop, "validate", validate)
    scored = type("Scored", (), {"seen": seen, "done": 0})()
    return scored


def fit(student, **options):
    config = options.pop("config", CONFIG)
    return train(student, Transfer(), examples(), examples(seed=1), config, seed=0, **options)


def same(state, other) -> bool:
    return all(torch.equal(value, other[name]) for name, value in state.items())


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_later_steps_do_not_reach_the_weights_that_are_kept(scored, averaging):
    student = new_student()
    result = fit(student, config=TrainingConfig(**{**vars(CONFIG), "averaging": averaging}))
    assert result.best_step == 3 * EVERY and result.best_score == 2.0
    assert same(student.state_dict(), scored.seen[2])
    # Without this the test would be none: training went on and moved the weights.
    assert not same(scored.seen[2], scored.seen[3]) and not same(scored.seen[2], scored.seen[-1])


def test_patience_is_exact(scored):
    result = fit(new_student())
    assert len(scored.seen) == 3 + PATIENCE
    assert result.history[-1]["step"] == (3 + PATIENCE) * EVERY


def test_without_patience_it_trains_to_the_end_and_keeps_the_best(scored):
    student = new_student()
    result = fit(student, config=TrainingConfig(**{**vars(CONFIG), "patience": 0}))
    assert len(scored.seen) == CONFIG.steps // EVERY and result.best_step == 3 * EVERY
    assert same(student.state_dict(), scored.seen[2])


@pytest.mark.parametrize("stop_at", range(3 * EVERY, (3 + PATIENCE) * EVERY))
def test_an_interruption_while_it_waits_changes_nothing(scored, tmp_path, stop_at):
    """Stopped after each step from the best one on, it ends at the same step with the same weights."""
    whole = new_student()
    expected = fit(whole)
    best, steps = scored.seen[2], [0]
    scored.seen.clear()

    def stop(done):
        steps[0] += done
        if steps[0] == stop_at + 1:  # told of before the step is saved
            raise Interrupted

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        fit(new_student(), checkpoint=path, progress=stop)
    scored.done = stop_at // EVERY
    scored.seen.clear()
    resumed, told = new_student(), []
    result = fit(resumed, checkpoint=path, progress=told.append)
    assert told[0] == stop_at
    assert result.history == expected.history and result.best_step == expected.best_step == 3 * EVERY
    assert same(resumed.state_dict(), best) and same(whole.state_dict(), best)
