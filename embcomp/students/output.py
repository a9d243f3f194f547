"""What every student returns, and the masks of clips shorter than their batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from embcomp.students.pooling import over_bands


class Stages(Sequence[Tensor]):
    """Maps after each stage of a network, averaged over bands where they are asked for; hardly any method does.

    Parameters
    ----------
    maps : sequence of Tensor of shape (n, channels, bands, time)
    frames : Tensor of shape (n, time, channels)
        The last stage, averaged already.
    """

    def __init__(self, maps: Sequence[Tensor], frames: Tensor):
        self._maps, self._frames = tuple(maps), frames

    def __len__(self) -> int:
        return len(self._maps) + 1

    def __getitem__(self, number: int) -> Tensor:
        number = range(len(self))[number]
        return self._frames if number == len(self._maps) else over_bands(self._maps[number])


class StudentOutput(NamedTuple):
    """Result of a student's forward pass.

    Attributes
    ----------
    logits : Tensor of shape (n, classes)
    embedding : Tensor of shape (n, width)
        What the classifier sees; what a transfer method compares with the target.
    frames : Tensor of shape (n, time, channels)
        Features over time before pooling, zero where the clip has ended.
    stages : sequence of Tensor of shape (n, time, channels)
        The same after each stage of the network, averaged over bands; the last is `frames`. Only in
        training, and none where a network has no stages to speak of.
    """

    logits: Tensor
    embedding: Tensor
    frames: Tensor
    stages: Sequence[Tensor] = ()


def frame_mask(lengths: Tensor | None, frames: int) -> Tensor | None:
    """1.0 where a clip still runs, shape (n, frames); None where every clip fills its row."""
    if lengths is None:
        return None
    return (torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)).float()


def unless_full(lengths: Tensor, frames: int) -> Tensor | None:
    """Lengths (n,) as a student wants them: None where every clip fills its `frames`, so that nothing is masked."""
    return None if int(lengths.min()) == frames else lengths


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` with zeros where a clip has ended."""
    return x if mask is None else x * mask
