"""Clips as a student sees them, and how often each is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from embcomp.config import TrainingConfig
from embcomp.data.labels import Labels


@dataclass(frozen=True)
class Examples:
    """Clips as a student sees them.

    Attributes
    ----------
    features : Tensor of shape (n, n_mels, frames)
        Or of a table (n, columns, 1), of images (n, channels, height, width).
    lengths : Tensor of shape (n,)
        Valid frames.
    labels : Labels
    """

    features: Tensor
    lengths: Tensor
    labels: Labels

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """The clips of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        frames = max(part.features.shape[-1] for part in parts)
        first = parts[0].labels
        return cls(
            torch.cat([F.pad(part.features, (0, frames - part.features.shape[-1])) for part in parts]),
            torch.cat([part.lengths for part in parts]),
            Labels(first.classes, np.concatenate([part.labels.matrix for part in parts]), first.multi_label),
        )

    def to(self, device: str) -> Examples:
        """The same on another device."""
        return Examples(self.features.to(device), self.lengths.to(device), self.labels)

    def draw(self, weights: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Clips drawn with replacement, each by its weight.

        Parameters
        ----------
        weights : Tensor of shape (n,)
        count : int
        generator : torch.Generator
            On the CPU, as `weights` are, so that one seed gives the same draws on every device.

        Returns
        -------
        rows : Tensor of int64 of shape (count,)
        lengths : Tensor of shape (count,)
        features : Tensor of shape (count, n_mels, longest)
        """
        rows = torch.multinomial(weights, count, replacement=True, generator=generator).to(self.features.device)
        lengths = self.lengths[rows]
        return rows, lengths, self.features[rows][..., : int(lengths.max())]


def steps_of(config: TrainingConfig, labels: Labels) -> int:
    """How many steps a training takes: as set, or as many as ``epochs`` passes over the labelled clips."""
    if not config.epochs:
        return config.steps
    labelled = np.count_nonzero(labels.labelled)
    share = 1.0 if labelled == len(labels) else max(config.labelled, labelled / len(labels))
    clips = labelled / (1 + config.views)  # each is there as itself and in its views
    return max(1, math.ceil(config.epochs * clips / (config.batch_size * share)))


def sampling_weights(labels: Labels, balanced: bool, labelled: float = 0.0) -> Tensor:
    """Probability of drawing each clip, float64 (n,), summing to 1.

    Balanced: every class is drawn equally often (of a clip's several labels the
    rarest counts).

    Parameters
    ----------
    labels : Labels
    balanced : bool
    labelled : float in [0, 1], default=0.0
        Least share of the draws that goes to clips with a label. In proportion to their number, a few
        labels among many clips would leave a batch with hardly one, and the task loss with noise.
    """
    strata = labels.for_splits
    count = len(strata)
    known = strata >= 0
    if not known.any():
        return torch.full((count,), 1.0 / count, dtype=torch.float64)
    share = 1.0 if known.all() else max(labelled, known.mean())
    weights = np.full(count, (1.0 - share) / max(np.count_nonzero(~known), 1))
    members = np.bincount(strata[known]) if balanced else np.array([np.count_nonzero(known)])
    weights[known] = (share / np.count_nonzero(members)) / members[strata[known] if balanced else 0]
    return torch.from_numpy(weights)
