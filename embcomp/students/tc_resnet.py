"""The published student whose bands are channels: convolutions over time alone, the cheapest step of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students import temporal
from embcomp.students.base import Student, StudentSettings
from embcomp.students.norm import NormReLU, channels_last
from embcomp.students.output import Stages, StudentOutput, frame_mask, masked
from embcomp.students.pooling import mean_over_time, pooled_mean, strided

STEM = 16  # channels, before the multiplier
CHANNELS = (24, 32, 48)  # of the three stages
KERNEL = 9  # frames


class Residual(nn.Module):
    """Two convolutions over time with batch norm beside a shortcut, a strided 1x1 convolution where channels change."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.stride = 1 if channels == out_channels else 2
        near = {"padding": (0, KERNEL // 2), "bias": False}
        self.conv1 = nn.Conv2d(channels, out_channels, (1, KERNEL), (1, self.stride), **near)
        self.norm1 = NormReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, (1, KERNEL), **near)
        self.norm2 = nn.BatchNorm2d(out_channels)
        if self.stride > 1:
            self.shortcut = nn.Conv2d(channels, out_channels, 1, (1, self.stride), bias=False)
            self.shortcut_norm = NormReLU(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        mask = strided(mask, self.stride)
        y = self.norm2(self.conv2(self.norm1(self.conv1(x), mask)))
        beside = self.shortcut_norm(self.shortcut(x), mask) if self.stride > 1 else x
        return masked(torch.relu(y + beside), mask), mask

    def by_kernels(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The same of maps (n, frames, room) and a mask (n, frames), see `embcomp.students.temporal`."""
        mask = None if mask is None else strided(mask, self.stride).contiguous()
        shortcut = (self.shortcut, self.shortcut_norm) if self.stride > 1 else None
        return temporal.residual(x, (self.conv1, self.norm1), (self.conv2, self.norm2), shortcut, mask), mask


class TCResNet(Student):
    """TC-ResNet8 and TC-ResNet14.

    Choi et al. 2019, "Temporal Convolution for Real-time Keyword Spotting on Mobile Devices" (arXiv 1904.03814,
    figure 2): every band is a channel, so that a layer sees all bands at once and maps have no second dimension; a
    convolution over 3 frames, three stages of residual blocks with convolutions over 9 frames that halve the frames
    each, the mean over time, a linear classifier. The embedding is that mean, before the dropout. With 40 bands and
    12 classes 65,180 parameters (published as 66 k), 144,276 with a multiplier of 1.5; TC-ResNet14 136 k and 303 k (137 k and 305 k).

    In evaluation the result for a clip does not depend on its batch's padding. In training
    it does a little, as in the default student: batch norms count the padded frames.

    Differs from the published code: log-mels normalised by `InputNorm` in place of MFCC, padding is the same on both
    sides of a strided convolution, and weights start from PyTorch's values, not Xavier's.

    Parameters
    ----------
    n_classes : int
    n_mels : int, default=40
    **options
        Fields of `TCResNet.Settings`.

    Attributes
    ----------
    embedding_width : int
        48 times the multiplier.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames, or None where all
    clips fill their rows, to `StudentOutput`.
    """

    name = "tc_resnet"
    summary = "TC-ResNet as published for keywords, convolutions over time alone, 69 k parameters with 64 bands"

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        deep: bool = setting(False, "two residual blocks in a stage in place of one: TC-ResNet14, not TC-ResNet8")
        width_multiplier: float = setting(
            1.0, "channels over those published, which has 1 and 1.5", at_least=0.25, at_most=16
        )
        dropout: float = setting(0.5, "on the embedding, before the classifier, as published", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int = 40, **options: Any):
        super().__init__(n_classes, n_mels, **options)
        stem, *widths = (int(count * self.settings.width_multiplier) for count in (STEM, *CHANNELS))
        self.embedding_width = widths[-1]
        self.stem = nn.Conv2d(n_mels, stem, (1, 3), padding=(0, 1), bias=False)
        self.stem_norm = NormReLU(stem)
        self.stages = nn.ModuleList()
        channels = stem
        for width in widths:
            plan = [channels, *[width] * (2 if self.settings.deep else 1)]
            self.stages.append(nn.ModuleList(Residual(*pair) for pair in zip(plan, plan[1:])))
            channels = width
        self.dropout = nn.Dropout(self.settings.dropout)
        self.classify = nn.Linear(channels, n_classes)
        self._norms = tuple(layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d))

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        mask = frame_mask(lengths, features.shape[-1])
        x = self.norm(features, mask)
        if self.training and temporal.usable(x, self._norms):
            maps, frames, mask = self._by_kernels(x, mask)
            embedding = mean_over_time(frames, None if mask is None else mask.unsqueeze(1))
        else:
            maps, (embedding, frames) = self._by_layers(x, mask)
        logits = self.classify(self.dropout(embedding))
        return StudentOutput(logits, embedding, frames, Stages(maps, frames) if self.training else ())

    def _by_layers(self, x: Tensor, mask: Tensor | None) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        x = channels_last(x.unsqueeze(2))
        mask = None if mask is None else mask[:, None, None]
        x = self.stem_norm(self.stem(x), mask)
        maps = []
        for number, stage in enumerate(self.stages):
            if self.training and number:
                maps.append(x)
            for block in stage:
                x, mask = block(x, mask)
        return maps, pooled_mean(x, mask)

    def _by_kernels(self, x: Tensor, mask: Tensor | None) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Maps of all stages but the last, its frames (n, frames, channels), and their mask."""
        x = temporal.stem(x, self.stem, self.stem_norm, mask)
        maps = []
        for number, stage in enumerate(self.stages):
            if number:
                maps.append(temporal.seen(x, stage[0].conv1.in_channels).transpose(1, 2).unsqueeze(2))
            for block in stage:
                x, mask = block.by_kernels(x, mask)
        return maps, temporal.seen(x, self.embedding_width), mask
