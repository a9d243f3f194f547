"""Hidden states of a torch model: which layer, or which mixture of layers, and clips in batches."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.errors import ConfigError, TeacherError
from embcomp.teachers.pooled import PooledSettings


@dataclass(frozen=True)
class LayerSettings(PooledSettings):
    """Settings of teachers that are torch models with hidden states."""

    layer: int = setting(
        -1, "hidden state that is read: 0 enters the first block, -1 leaves the last", at_least=-1000, at_most=1000
    )
    layer_weights: tuple[float, ...] = setting(
        (), "instead of one layer: a weight for every hidden state, none negative; they are divided by their sum"
    )
    batch: int = setting(
        0,
        "clips in one call; 0 is 8, and on a GPU as many as are decoded at once, halved where memory is short",
        at_least=0,
    )
    device: str = setting("cpu", "where it runs: cpu, cuda, cuda:1")

    @property
    def at_once(self) -> int:
        """Clips in one call, at most; more than 8 make a processor no faster, and a GPU by far."""
        return self.batch or (8 if self.device == "cpu" else sys.maxsize)

    def conflict(self) -> str:
        if any(weight < 0 for weight in self.layer_weights):
            return f"teacher.layer_weights must not be negative, not {list(self.layer_weights)}"
        if self.layer_weights and not sum(self.layer_weights):
            return "teacher.layer_weights are all 0; give at least one of them a weight"
        if self.layer_weights and self.layer != -1:
            return "teacher.layer and teacher.layer_weights are both set; layer_weights already say which layers"
        return ""


def check_layers(settings: LayerSettings, count: int) -> None:
    """Refuse layers that a model with `count` hidden states does not have.

    Raises
    ------
    ConfigError
        With how many there are.
    """
    if not -count <= settings.layer < count:
        raise ConfigError(f"teacher.layer is {settings.layer}; {settings.spec} has hidden states 0 to {count - 1}")
    if settings.layer_weights and len(settings.layer_weights) != count:
        raise ConfigError(
            f"teacher.layer_weights are {len(settings.layer_weights)}; {settings.spec} has {count} hidden states"
        )


def mixed(hidden: Sequence[Tensor], settings: LayerSettings) -> Tensor:
    """The hidden state that is read, or the weighted mean of all of them.

    Parameters
    ----------
    hidden : sequence of Tensor of shape (n, time, width)
        From what enters the first block to what leaves the last.
    """
    if not settings.layer_weights:
        return hidden[settings.layer]
    weights = torch.tensor(settings.layer_weights, dtype=hidden[0].dtype, device=hidden[0].device)
    return torch.tensordot(weights / weights.sum(), torch.stack(list(hidden)), dims=1)


def batches(waveforms: Sequence[np.ndarray], size: int, mixed_lengths: bool) -> Iterator[np.ndarray]:
    """Row numbers of clips that go into a model together, of similar length so that little is padded.

    Parameters
    ----------
    size : int
        At most so many at once.
    mixed_lengths : bool
        Whether the model can mask padding; otherwise all of a batch are of one length.
    """
    lengths = np.array([len(wave) for wave in waveforms])
    order = np.argsort(lengths, kind="stable")
    if mixed_lengths:
        parts = [order]
    else:
        parts = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    for part in parts:
        for first in range(0, len(part), size):
            yield part[first : first + size]


def weights_key(model: nn.Module) -> str:
    """SHA-256 of a model's weights and buffers, whatever file they came in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def placed(model: nn.Module, device: str) -> nn.Module:
    """The model on `device`, in evaluation mode and without gradients.

    Raises
    ------
    TeacherError
        There is no such device, or it has too little memory.
    """
    try:
        return model.to(torch.device(device)).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TeacherError(f"teacher.device = {device!r} cannot be used ({reason}); cpu always can") from None
