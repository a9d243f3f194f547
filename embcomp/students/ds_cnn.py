"""The default student: a depthwise-separable CNN of under 100 k parameters."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students import fused
from embcomp.students.base import Student, StudentSettings
from embcomp.students.norm import NormReLU, channels_last
from embcomp.students.output import Stages, StudentOutput, frame_mask
from embcomp.students.pooling import at_least_float32, mean_over_time
from embcomp.students.separable import Separable

STAGES = (1, 4)  # the separable blocks that end a stage; the convolution across bands ends the third


class DSCNN(Student):
    """Depthwise-separable CNN on log-mels (the family of Zhang et al. 2017, "Hello Edge").

    A strided 3x3 stem, five separable blocks (time and bands shrink 8 times each), one depthwise
    convolution across all bands, masked mean over time, a linear embedding and a
    linear classifier.

    Parameters
    ----------
    n_classes : int
    n_mels : int, default=64
    **options
        Fields of `DSCNN.Settings`.

    Attributes
    ----------
    embedding_width : int

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames, or None where all
    clips fill their rows, to `StudentOutput`.

    Examples
    --------
    >>> student = DSCNN(n_classes=10).eval()
    >>> student(torch.zeros(2, 64, 101), torch.tensor([101, 50])).logits.shape
    torch.Size([2, 10])
    """

    name = "ds_cnn"
    summary = "depthwise-separable CNN, 62 k parameters by default"

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        width: int = setting(
            64, "channels of the middle blocks; the stem has a quarter, the last blocks twice as many", at_least=8
        )
        embedding: int = setting(64, "width of the embedding", at_least=1)
        dropout: float = setting(0.1, "on the embedding, before the classifier", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int = 64, **options: Any):
        super().__init__(n_classes, n_mels, **options)
        width, embedding = self.settings.width, self.settings.embedding
        stem, double = width // 4, 2 * width
        self.embedding_width = embedding
        self.stem = nn.Conv2d(1, stem, 3, stride=2, padding=1, bias=False)
        self.stem_norm = NormReLU(stem)
        # The first block already has a stride: at full size it would cost as much as all the others.
        plan = [(stem, width, 2), (width, width, 1), (width, double, 2), (double, double, 1), (double, double, 1)]
        self.blocks = nn.ModuleList(Separable(*step) for step in plan)
        bands = -(-n_mels // 8)
        # A mean over bands would forget how high a sound is; one weight per band and channel does not.
        self.across = nn.Conv2d(double, double, (bands, 1), groups=double, bias=False)
        self.across_norm = NormReLU(double)
        self.project = nn.Linear(double, embedding)
        self.dropout = nn.Dropout(self.settings.dropout)
        self.classify = nn.Linear(embedding, n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        mask = frame_mask(lengths, features.shape[-1])
        x = self.norm(features, mask).unsqueeze(1)
        mask = None if mask is None else mask[:, None, None, ::2]
        if self.stem_norm.training and not x.requires_grad and fused.usable(x, fused.halved(x), self.stem):
            x = fused.stem(x, self.stem, self.stem_norm, mask)
        else:
            x = self.stem_norm(channels_last(self.stem(x)), mask)
        maps = []
        for number, block in enumerate(self.blocks):
            x, mask = block(x, mask)
            if self.training and number in STAGES:
                maps.append(x)
        if self.across_norm.training and fused.usable(x, (1, x.shape[3]), self.across):
            x = fused.across(x, self.across, self.across_norm, mask)
        else:
            x = self.across_norm(self.across(x), mask)
        frames = at_least_float32(x).squeeze(2).transpose(1, 2)
        # Two small products: in bfloat16 their weights' conversion would take longer than they do.
        with torch.autocast(x.device.type, enabled=False) if self.training else nullcontext():
            embedding = self.project(mean_over_time(frames, mask))
            logits = self.classify(self.dropout(embedding))
        return StudentOutput(logits, embedding, frames, Stages(maps, frames) if self.training else ())
