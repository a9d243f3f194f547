"""What every student returns, and what every student does to its input."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from embcomp.errors import ConfigError, nearest


class StudentOutput(NamedTuple):
    """Result of a student's forward pass.

    Attributes
    ----------
    logits : Tensor of shape (n, classes)
    embedding : Tensor of shape (n, width)
        What the classifier sees; what a transfer method compares with the target.
    frames : Tensor of shape (n, time, channels)
        Features over time before pooling, zero where the clip has ended.
    stages : tuple of Tensor of shape (n, time, channels)
        The same after each stage of the network, averaged over bands; the last is `frames`. Only in
        training, and none where a network has no stages to speak of.
    """

    logits: Tensor
    embedding: Tensor
    frames: Tensor
    stages: tuple[Tensor, ...] = ()


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


class InputNorm(nn.Module):
    """Normalise log-mels, looking only at frames that belong to the clip.

    Level and channel are what differs most between data sets, so this choice
    decides much of what carries over.

    Parameters
    ----------
    kind : {"none", "global", "clip", "band"}
        ``global`` uses each band's mean and deviation over the training clips
        (`fit` learns them); ``clip`` takes the clip's own mean and deviation over
        all bands, which undoes its level; ``band`` takes the clip's mean of each
        band, which undoes any fixed filter (cepstral mean normalisation), and one
        deviation per clip.
    n_mels : int

    Shape
    -----
    ``(n, n_mels, frames)`` and mask ``(n, frames)`` or None to ``(n, n_mels, frames)``; frames
    outside the clip become zero.
    """

    KINDS = ("none", "global", "clip", "band")

    def __init__(self, kind: str, n_mels: int):
        super().__init__()
        if kind not in self.KINDS:
            raise ConfigError(f"unknown input normalisation {kind!r}: {nearest(kind, self.KINDS)}")
        self.kind = kind
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("deviation", torch.ones(n_mels))

    def fit(self, features: Tensor, lengths: Tensor) -> None:
        """Learn the statistics of ``global`` from training clips (n, n_mels, frames)."""
        mask = frame_mask(lengths, features.shape[-1]).unsqueeze(1)
        count = mask.sum()
        mean = (features * mask).sum((0, 2)) / count
        variance = ((features - mean.view(1, -1, 1)).square() * mask).sum((0, 2)) / count
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt() + 1e-5)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask.unsqueeze(1)
        if self.kind == "global":
            features = (features - self.mean.view(1, -1, 1)) / self.deviation.view(1, -1, 1)
        elif self.kind in ("clip", "band"):
            count = features.shape[-1] if mask is None else mask.sum(-1, keepdim=True)
            mean = masked(features, mask).sum(-1, keepdim=True) / count
            if self.kind == "clip":
                mean = mean.mean(1, keepdim=True)
            centred = masked(features - mean, mask)
            variance = centred.square().sum((1, 2), keepdim=True) / (count * features.shape[1])
            # A silent or one-frame clip has no deviation; it becomes zeros, not noise.
            features = centred / (variance.sqrt() + 1e-2)
        return masked(features, mask)
