"""A student over many clips, in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embcomp.students.output import unless_full


def predict_logits(student: nn.Module, features: Tensor, lengths: Tensor, batch_size: int = 256) -> Tensor:
    """Logits (n, classes) in evaluation mode; clips of like length share a batch, the order is kept."""
    return _outputs(student, features, lengths, batch_size, ("logits",))[0]


def predict_outputs(
    student: nn.Module, features: Tensor, lengths: Tensor, batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and embeddings (n, width), computed as by `predict_logits`."""
    logits, embeddings = _outputs(student, features, lengths, batch_size, ("logits", "embedding"))
    return logits, embeddings


def _outputs(
    student: nn.Module, features: Tensor, lengths: Tensor, batch_size: int, names: tuple[str, ...]
) -> list[Tensor]:
    student.eval()
    device = next(student.parameters()).device
    order = torch.argsort(lengths, stable=True)
    pieces = []
    with torch.inference_mode():
        for rows in order.split(batch_size):
            batch_lengths = lengths[rows]
            batch = features[rows][..., : int(batch_lengths.max())]
            ragged = unless_full(batch_lengths.to(device), batch.shape[-1])
            output = student(batch.to(device), ragged)
            pieces.append([getattr(output, name).float().cpu() for name in names])
    back = torch.argsort(order.cpu())
    return [torch.cat(part)[back] for part in zip(*pieces)]
