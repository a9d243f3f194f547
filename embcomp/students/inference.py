"""A student over many clips, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from embcomp.students.output import unless_full


def predict_logits(student: nn.Module, features: Tensor, lengths: Tensor, batch_size: int = 256) -> Tensor:
    """Logits (n, classes) in evaluation mode; clips of like length share a batch, the order is kept."""
    return read_logits(student, features.__getitem__, lengths, batch_size)


def read_logits(student: nn.Module, read: Callable[[Tensor], Tensor], lengths: Tensor, batch_size: int = 256) -> Tensor:
    """`predict_logits` of clips whose features are read batch by batch.

    Parameters
    ----------
    read : callable
        Numbers of clips, int64 (k,), to their features (k, n_mels, frames), no shorter than the longest of them.
    lengths : Tensor of shape (n,)
    """
    return _outputs(student, read, lengths, batch_size, ("logits",))[0]


def predict_outputs(
    student: nn.Module, features: Tensor, lengths: Tensor, batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and embeddings (n, width), computed as by `predict_logits`."""
    logits, embeddings = _outputs(student, features.__getitem__, lengths, batch_size, ("logits", "embedding"))
    return logits, embeddings


def _outputs(
    student: nn.Module, read: Callable[[Tensor], Tensor], lengths: Tensor, batch_size: int, names: tuple[str, ...]
) -> list[Tensor]:
    student.eval()
    device = next(student.parameters()).device
    order = torch.argsort(lengths, stable=True)
    found: list[Tensor] = []  # not a small piece for each batch, which would lie between the memory of large ones
    with torch.inference_mode():
        for rows in order.split(batch_size):
            batch_lengths = lengths[rows]
            batch = read(rows)[..., : int(batch_lengths.max())]
            ragged = unless_full(batch_lengths.to(device), batch.shape[-1])
            output = student(batch.to(device), ragged)
            values = [getattr(output, name).float().cpu() for name in names]
            found = found or [torch.empty(len(order), *value.shape[1:]) for value in values]
            for whole, value in zip(found, values):
                whole[rows.cpu()] = value
    return found
