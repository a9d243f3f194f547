"""A student over many clips, in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embcomp.students.output import unless_full


def predict_logits(student: nn.Module, features: Tensor, lengths: Tensor, batch_size: int = 256) -> Tensor:
    """Logits (n, classes) in evaluation mode; clips of like length share a batch, the order is kept."""
    student.eval()
    device = next(student.parameters()).device
    order = torch.argsort(lengths, stable=True)
    pieces = []
    with torch.inference_mode():
        for rows in order.split(batch_size):
            batch_lengths = lengths[rows]
            batch = features[rows][..., : int(batch_lengths.max())]
            ragged = unless_full(batch_lengths.to(device), batch.shape[-1])
            pieces.append(student(batch.to(device), ragged).logits.float().cpu())
    logits = torch.cat(pieces)
    result = torch.empty_like(logits)
    result[order.cpu()] = logits
    return result
