"""The training loop of a compressor: seeded mini-batches, AdamW, early stopping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embcomp.compression.batches import Gatherer, minibatches
from embcomp.compression.frame import Frame
from embcomp.compression.objectives import Bottleneck
from embcomp.compression.rows import Rows
from embcomp.errors import DataError
from embcomp.learning import EarlyStopping

EVALUATION_ROWS = 4096
# With fewer steps between them, checks would see noise and stop small sets at once.
STEPS_PER_CHECK = 16


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the compressor's parameters of the same names."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    validation_share: float


def train(
    model: Bottleneck,
    rows: Rows,
    frame: Frame,
    targets: Tensor | None,
    schedule: Schedule,
    generator: torch.Generator,
    groups: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place and leave it at its best epoch.

    The start counts as epoch 0, so held-out loss never ends above it.

    Parameters
    ----------
    rows : Rows of shape (n, dim)
    frame : Frame
        Applied to every batch.
    targets : Tensor of length n, optional
    groups : array of shape (n,), optional
        Groups that are held out whole.

    Returns
    -------
    list of dict
        Per check: ``epoch``, ``train`` and ``validation`` loss, and the terms of the latter.
    """
    gather = Gatherer(rows, EVALUATION_ROWS)
    training, held_out = hold_out(len(rows), schedule.validation_share, generator, groups)
    parameters = _parameter_groups(model, schedule.weight_decay)
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, fused=True)
    history: list[dict[str, Any]] = [{"epoch": 0, "train": None, **evaluate(model, gather, frame, targets, held_out)}]
    stopping = EarlyStopping(model, schedule.patience)
    if len(held_out):
        stopping.offer(-history[0]["validation"])
    interval = math.ceil(STEPS_PER_CHECK / math.ceil(len(training) / schedule.batch_size))
    for epoch in range(1, schedule.epochs + 1):
        model.train()
        total = torch.zeros(())
        for index, batch in minibatches(rows, schedule.batch_size, generator, training):
            loss = model.losses(frame.to_(batch), None if targets is None else targets[index])["total"]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach() * len(index)
        if not torch.isfinite(total):
            raise DataError(f"training diverged in epoch {epoch}; lower learning_rate ({schedule.learning_rate})")
        if epoch % interval and epoch < schedule.epochs:
            continue
        scores = evaluate(model, gather, frame, targets, held_out)
        history.append({"epoch": epoch, "train": float(total) / len(training), **scores})
        if len(held_out):
            stopping.offer(-scores["validation"])
            if stopping.exhausted:
                break
    if len(held_out):
        stopping.restore()
    return history


@torch.no_grad()
def evaluate(
    model: Bottleneck, gather: Gatherer, frame: Frame, targets: Tensor | None, index: np.ndarray
) -> dict[str, float]:
    """Mean losses over the rows of `index`: ``validation`` and its terms; empty without rows."""
    model.eval()
    sums: dict[str, float] = {}
    for start in range(0, len(index), EVALUATION_ROWS):
        part = index[start : start + EVALUATION_ROWS]
        for name, loss in model.losses(frame.to_(gather(part)), None if targets is None else targets[part]).items():
            sums[name] = sums.get(name, 0.0) + float(loss) * len(part)
    return {"validation" if name == "total" else name: total / len(index) for name, total in sums.items()}


def hold_out(
    n: int, share: float, generator: torch.Generator, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split ``0 .. n-1`` into training and held-out indices, both sorted.

    Parameters
    ----------
    share : float
        Of the rows, or of the groups, to hold out; 0 holds out none.
    groups : array of shape (n,), optional
        No group is divided; at least one group stays for training.
    """
    if share == 0:
        return np.arange(n), np.arange(0)
    names, codes = (np.arange(n),) * 2 if groups is None else np.unique(np.asarray(groups), return_inverse=True)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = torch.randperm(len(names), generator=generator).numpy()[:count]
    out = np.isin(codes, chosen)
    return np.flatnonzero(~out), np.flatnonzero(out)


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: a bias has nothing to shrink to."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
