"""The published student of 0.3 million parameters: a fully convolutional network for tagging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students.base import Student, StudentSettings
from embcomp.students.norm import NormReLU, channels_last
from embcomp.students.output import Stages, StudentOutput, frame_mask
from embcomp.students.pooling import max_pool, pooled_mean
from embcomp.students.separable import Separable

STEM = ((1, 64, (2, 4)), (64, 128, (2, 3)))  # channels in, out, and the window of bands and frames pooled after
SEPARABLE = (
    (128, 128, (2, 2)),
    (128, 128, (3, 2)),
    (128, 128, (4, 2)),
    (128, 256, (1, 1)),
    (256, 256, (1, 1)),
    (256, 256, (1, 1)),
)
DROPPED_BEFORE = (2, 4)  # separable layers that dropout precedes, and that begin a stage


class MobileFCN(Student):
    """Mobile-FCN, the MagnaTagATune student of EAsT.

    Choi et al. 2016, "Automatic tagging using deep convolutional neural networks" (arXiv 1606.00298), with
    depthwise-separable layers, as Ding & Lerch 2023 (arXiv 2306.17424) use it: two 3x3 convolutions, six
    depthwise-separable ones, maxima that shrink 96 bands to one and the frames 96 times, the mean over time,
    a linear classifier. The embedding is that mean, before the last dropout. 314,098 parameters for 50
    classes, whatever `n_mels`; published for 96 bands.

    In evaluation the result for a clip does not depend on its batch's padding. In training
    it does a little, as in the default student: batch norms count the padded frames.

    Differs from the published code: the input is normalised by `InputNorm`, the last dropout acts on
    the mean over time and not before it, and frames or bands that do not fill a last window enter the
    pooling instead of being dropped, so that a clip of under 96 frames has an output too.

    Parameters
    ----------
    n_classes : int
    n_mels : int, default=96
    **options
        Fields of `MobileFCN.Settings`.

    Attributes
    ----------
    embedding_width : int
        256.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames, or None where all
    clips fill their rows, to `StudentOutput`.
    """

    name = "mobile_fcn"
    summary = "Mobile-FCN as published by EAsT for MagnaTagATune, 0.3 M parameters, embedding 256"

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        dropout: float = setting(0.5, "at three places, as published", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int = 96, **options: Any):
        super().__init__(n_classes, n_mels, **options)
        self.embedding_width = SEPARABLE[-1][1]
        self.stem = nn.ModuleList(nn.Conv2d(into, out, 3, padding=1, bias=False) for into, out, _ in STEM)
        self.stem_norms = nn.ModuleList(NormReLU(out) for _, out, _ in STEM)
        self.blocks = nn.ModuleList(Separable(into, out, 1, residual=False) for into, out, _ in SEPARABLE)
        self.dropout = nn.Dropout(self.settings.dropout)
        self.classify = nn.Linear(self.embedding_width, n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        mask = frame_mask(lengths, features.shape[-1])
        x = self.norm(features, mask).unsqueeze(1)
        mask = None if mask is None else mask[:, None, None]
        for convolution, norm, (*_, window) in zip(self.stem, self.stem_norms, STEM):
            x, mask = max_pool(norm(channels_last(convolution(x)), mask), mask, window)
        maps = []
        for number, (block, (*_, window)) in enumerate(zip(self.blocks, SEPARABLE)):
            if number in DROPPED_BEFORE:
                if self.training:
                    maps.append(x)
                x = self.dropout(x)
            x, mask = block(x, mask)
            x, mask = max_pool(x, mask, window)
        embedding, frames = pooled_mean(x, mask)
        logits = self.classify(self.dropout(embedding))
        return StudentOutput(logits, embedding, frames, Stages(maps, frames) if self.training else ())
