"""A compressor is left at its best epoch, and stops as many checks after it as its patience says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embcomp.compression import Compressor, loop

SETTINGS = {
    "method": "linear",
    "objective": "both",
    "start": "pca",
    "epochs": 30,
    "batch_size": 8,
    "learning_rate": 0.02,
}
PATIENCE = 4


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 4
    return rng.normal(size=(4, 6))[y] + rng.normal(size=(200, 6)), y


def losses(monkeypatch, best: int) -> list[dict]:
    """Held-out loss that falls up to the check `best` (0 is the start) and rises from then on; the weights at each."""
    seen = []

    def evaluate(model, *rest):
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"validation": abs(len(seen) - 1 - best) + 1.0}

    monkeypatch.setattr(loop, "evaluate", evaluate)
    return seen


@pytest.mark.parametrize("best", [0, 1, 3])
def test_the_best_epoch_is_kept_and_patience_is_exact(data, monkeypatch, best):
    seen, kept = losses(monkeypatch, best), []
    real = loop.train

    def train(model, *rest):
        history = real(model, *rest)
        kept.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return history

    monkeypatch.setattr("embcomp.compression.training.train", train)
    compressor = Compressor(3, validation_share=0.2, patience=PATIENCE, **SETTINGS).fit(*data)
    assert len(compressor.history_) == len(seen) == 1 + best + PATIENCE
    assert all(torch.equal(value, seen[best][name]) for name, value in kept[0].items())
    moved = [name for name, value in kept[0].items() if not torch.equal(value, seen[-1][name])]
    assert "encoder.weight" in moved and "head.weight" in moved


def test_without_held_out_rows_the_last_epoch_is_kept(data, monkeypatch):
    compressor = Compressor(3, validation_share=0, patience=1, **{**SETTINGS, "epochs": 3}).fit(*data)
    assert compressor.history_[-1]["epoch"] == 3
