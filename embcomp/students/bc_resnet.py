"""The published student of fewest parameters: residuals over time alone, broadcast to all bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students.base import Student, StudentSettings
from embcomp.students.norm import NormReLU, is_exporting
from embcomp.students.output import Stages, StudentOutput, frame_mask, masked
from embcomp.students.pooling import pooled_mean

BASE = 8  # channels of BC-ResNet-1
# Blocks of each stage, their channels over the base, and the stride over bands; dilation over time doubles each time.
STAGES = ((2, 1, 1), (2, 1.5, 2), (4, 2, 2), (4, 2.5, 1))
STEM, LAST = 2, 4  # channels over the base
SUBBANDS = 5


class SubSpectralNorm(nn.Module):
    """Batch norm with statistics and weights for each of several groups of neighbouring bands.

    Chang et al. 2021, "SubSpectral Normalization for Neural Audio Data Processing" (arXiv 2103.13620, section 3).

    Parameters
    ----------
    channels : int
    groups : int
        Must divide the bands of the input.

    Shape
    -----
    ``(n, channels, bands, frames)`` to the same.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.groups = groups
        self.norm = nn.BatchNorm2d(channels * groups)

    def forward(self, x: Tensor) -> Tensor:
        if is_exporting():  # a batch norm that no convolution is next to would stay in the graph as such
            scale = self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)
            shift = self.norm.bias - self.norm.running_mean * scale
            scale, shift = (
                part.view(-1, self.groups, 1).expand(-1, -1, x.shape[2] // self.groups).reshape(1, -1, x.shape[2], 1)
                for part in (scale, shift)
            )
            return x * scale + shift
        return self.norm(x.unflatten(2, (self.groups, -1)).flatten(1, 2)).view_as(x)


class Broadcast(nn.Module):
    """BC-ResBlock: ``relu(x + f2(x) + f1(mean over bands of f2(x)))``, without the first x where channels change.

    f2 is a depthwise convolution over 3 bands with sub-spectral norm, f1 a dilated depthwise convolution over 3
    frames, batch norm, swish, a 1x1 convolution and dropout of channels; it has one band, which is added to all.
    Frames past a clip's end are set to zero before f1 looks at neighbours.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, dilation: int, groups: int, dropout: float):
        super().__init__()
        self.enter = None
        if channels != out_channels:
            self.enter = nn.Conv2d(channels, out_channels, 1, bias=False)
            self.enter_norm = NormReLU(out_channels)
        depthwise = {"groups": out_channels, "bias": False}
        self.bands = nn.Conv2d(out_channels, out_channels, (3, 1), (stride, 1), (1, 0), **depthwise)
        self.bands_norm = SubSpectralNorm(out_channels, groups)
        self.frames = nn.Conv2d(
            out_channels, out_channels, (1, 3), padding=(0, dilation), dilation=(1, dilation), **depthwise
        )
        self.frames_norm = nn.BatchNorm2d(out_channels)
        self.pointwise = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = x if self.enter is None else self.enter_norm(self.enter(x))
        y = self.bands_norm(self.bands(y))
        z = masked(y.mean(2, keepdim=True), mask)
        z = self.dropout(self.pointwise(F.silu(self.frames_norm(self.frames(z)))))
        y = y + z if self.enter is not None else y + z + x
        return masked(torch.relu(y), mask)


class BCResNet(Student):
    """BC-ResNet-tau.

    Kim et al. 2021, "Broadcasted Residual Learning for Efficient Keyword Spotting" (arXiv 2106.04140, table 1): a 5x5
    stem that halves the bands, four stages of broadcasting blocks, a depthwise convolution across the bands left, a
    1x1 convolution, the mean over time, a linear classifier. The embedding is that mean. tau, here the width
    multiplier, is 1, 1.5, 2, 3, 6 or 8 in the paper; with 40 bands and 12 classes 9,232 parameters for 1
    (published as 9.2 k) and 321,068 for 8. Frames are never strided over, so that few parameters cost many
    activations: a step takes several times that of the default student.

    In evaluation the result for a clip does not depend on its batch's padding. In training
    it does a little, as in the default student: batch norms count the padded frames.

    Differs from the published code: the input is normalised by `InputNorm`, and a number of bands that five groups do
    not divide has the most groups up to five that do.

    Parameters
    ----------
    n_classes : int
    n_mels : int, default=40
    **options
        Fields of `BCResNet.Settings`.

    Attributes
    ----------
    embedding_width : int
        32 times the multiplier.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames, or None where all
    clips fill their rows, to `StudentOutput`.
    """

    name = "bc_resnet"
    summary = "BC-ResNet as published for keywords, broadcast residuals, 10 k parameters at width 1"

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        width_multiplier: float = setting(
            1.0, "tau of the paper, which has 1, 1.5, 2, 3, 6 and 8", at_least=0.5, at_most=16
        )
        dropout: float = setting(0.1, "of channels in every block, as published", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int = 40, **options: Any):
        super().__init__(n_classes, n_mels, **options)

        def scaled(times: float) -> int:
            return int(times * int(BASE * self.settings.width_multiplier))

        channels, bands = scaled(STEM), -(-n_mels // 2)
        self.stem = nn.Conv2d(1, channels, 5, (2, 1), padding=2, bias=False)
        self.stem_norm = NormReLU(channels)
        self.stages = nn.ModuleList()
        for number, (count, times, stride) in enumerate(STAGES):
            bands = -(-bands // stride)
            groups = max(count for count in range(1, SUBBANDS + 1) if bands % count == 0)
            plan = [channels, *[scaled(times)] * count]
            strides = (stride, *[1] * (count - 1))
            self.stages.append(
                nn.ModuleList(
                    Broadcast(*pair, step, 2**number, groups, self.settings.dropout)
                    for pair, step in zip(zip(plan, plan[1:]), strides)
                )
            )
            channels = plan[-1]
        self.embedding_width = scaled(LAST)
        self.across = nn.Conv2d(channels, channels, (bands, 5), padding=(0, 2), groups=channels, bias=False)
        self.last = nn.Conv2d(channels, self.embedding_width, 1, bias=False)
        self.last_norm = NormReLU(self.embedding_width)
        self.classify = nn.Linear(self.embedding_width, n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        mask = frame_mask(lengths, features.shape[-1])
        x = self.norm(features, mask).unsqueeze(1)
        mask = None if mask is None else mask[:, None, None]
        x = self.stem_norm(self.stem(x), mask)
        maps = []
        for number, stage in enumerate(self.stages):
            for block in stage:
                x = block(x, mask)
            if self.training and 0 < number < len(self.stages) - 1:
                maps.append(x)
        x = self.last_norm(self.last(self.across(x)), mask)
        embedding, frames = pooled_mean(x, mask)
        return StudentOutput(self.classify(embedding), embedding, frames, Stages(maps, frames) if self.training else ())
