"""CLIP-Embed-KD: the student's embedding finds the teacher's mean of its class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.errors import DataError
from embcomp.transfer.base import Batch
from embcomp.transfer.clip import ContrastiveTransfer, ContrastSettings


class ClipPrototypes(ContrastiveTransfer):
    """Contrast with one fixed teacher vector per class.

    CLIP-Embed-KD (Nair 2024, arXiv 2404.06170): the mean embedding of up to 100 clips of each class
    represents the teacher, which is then no longer needed. The target is the clip's class.
    See `ContrastiveTransfer` for the loss and its options.
    """

    name = "clip_prototypes"
    summary = "class means of the embedding, by contrast (CLIP-Embed-KD)"
    needs_labels = True

    @dataclass(frozen=True)
    class Settings(ContrastSettings):
        prototypes: int = setting(100, "at most this many clips, chosen at random, make a class mean", at_least=1)

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.compares_clips = not self.settings.faithful  # else no prototype looks for its clips
        self.register_buffer("prototypes", torch.empty(0), persistent=False)
        self.register_buffer("present", torch.empty(0), persistent=False)

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        super().prepare(targets, labels, width)
        of_class = torch.from_numpy(labels.matrix == 1)
        if not of_class.any():
            raise DataError(
                "clip_prototypes found no labelled clip to average; label some, "
                "or use a transfer method that needs no label: embedding, regression, clip_samples"
            )
        order = torch.randperm(len(of_class))
        chosen = torch.zeros_like(of_class)
        shuffled = of_class[order]
        chosen[order] = shuffled & (shuffled.cumsum(0) <= self.settings.prototypes)
        counts = chosen.sum(0).unsqueeze(1)
        self.prototypes = (chosen.T.float() @ self.targets) / counts.clamp(min=1)
        self.present = counts.squeeze(1) > 0
        # Only the means are needed from here on.
        self.targets = torch.empty(0)

    def partners(self, batch: Batch) -> tuple[Tensor, Tensor]:
        # A class without a clip has no mean to be compared with.
        return self.prototypes, batch.labels.masked_fill(~self.present, torch.nan)
