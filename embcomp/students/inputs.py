"""What is done to log-mels before the first layer, on the kernels of `embcomp.students.compiled`: one or two passes each."""

from __future__ import annotations

import torch
from torch import Tensor

from embcomp.audio.augment import Changes
from embcomp.students import compiled
from embcomp.students.compiled import addresses, threads_for


def fast(features: Tensor) -> bool:
    """Whether the kernels can take these log-mels (n, n_mels, frames), of which they give no gradient."""
    return (
        features.device.type == "cpu"
        and features.dtype == torch.float32
        and features.ndim == 3
        and not features.requires_grad
        and not torch.compiler.is_compiling()
        and compiled.kernels() is not None
    )


def changed(features: Tensor, lengths: Tensor, changes: Changes) -> Tensor:
    """As `embcomp.audio.augment.changed`, to the same values but for the rounding of a clip's mean."""
    features, lengths = features.contiguous(), lengths.long().contiguous()
    found = torch.empty_like(features)
    parts = [(0, None) if part is None else (len(part), part.contiguous()) for part in (changes.bands, changes.frames)]
    fine = [None if part is None else part.contiguous() for part in (changes.gain, changes.curve, changes.turns)]
    masks = (argument for count, part in parts for argument in (count, *addresses(part)))
    compiled.kernels().change(
        threads_for(len(features)), *features.shape, *addresses(features, lengths, *fine), *masks, *addresses(found)
    )
    return found


def normalised(features: Tensor, mask: Tensor | None, smallest: float, flat: float) -> Tensor:
    """``(x - mean) / (deviation + smallest)`` of each clip where the mask (n, frames) is 1; a variance is at least `flat`."""
    features, found = features.contiguous(), torch.empty(features.shape)
    mask = None if mask is None else mask.float().contiguous()
    sizes = (threads_for(len(features)), *features.shape)
    compiled.kernels().normalise(*sizes, *addresses(features, mask), smallest, flat, *addresses(found))
    return found
