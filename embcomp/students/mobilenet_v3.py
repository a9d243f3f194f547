"""The published student of AudioSet taggers: MobileNetV3 with a width multiplier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students.base import Student, StudentSettings
from embcomp.students.norm import channels_last
from embcomp.students.output import Stages, StudentOutput, frame_mask, masked
from embcomp.students.pooling import mean_over_time, over_bands, pooled_mean, strided

STEM = 16  # channels, before the multiplier
# Kernel, expanded channels, channels, squeeze-and-excitation, hard swish (or ReLU), stride: MobileNetV3-Large.
BLOCKS = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
LAST_TIMES, HIDDEN = 6, 1280  # channels of the last convolution over the last block's; units of the classifier
STAGES = (5, 11)  # blocks that end a stage; the last convolution ends the third
SQUEEZE = 4


def divisible(count: float) -> int:
    """The multiple of 8 next to `count`, at least 8, and not under nine tenths of it."""
    found = max(8, int(count + 4) // 8 * 8)
    return found + 8 if found < 0.9 * count else found


class ConvNorm(nn.Module):
    """Convolution, batch norm, and an activation unless it is None."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, act=None):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(channels_last(self.conv(x)))
        return x if self.act is None else self.act(x)


class Excitation(nn.Module):
    """Squeeze-and-excitation over channels (Hu et al. 2018, arXiv 1709.01507), by the mean of a clip's valid frames."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = divisible(channels // SQUEEZE)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        mean = mean_over_time(over_bands(x), mask)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))[:, :, None, None]


class Inverted(nn.Module):
    """Inverted residual: expand, depthwise convolution, excitation, project; a skip where the shape stays.

    Frames past a clip's end are set to zero wherever the next step looks at neighbours or takes a mean.
    """

    def __init__(self, channels: int, expanded: int, out_channels: int, kernel: int, stride: int, excited: bool, act):
        super().__init__()
        self.expand = ConvNorm(channels, expanded, act=act) if expanded != channels else None
        self.depthwise = ConvNorm(expanded, expanded, kernel, stride, groups=expanded, act=act)
        self.excite = Excitation(expanded) if excited else None
        self.project = ConvNorm(expanded, out_channels)
        self.stride, self.skip = stride, stride == 1 and channels == out_channels

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        y = x if self.expand is None else masked(self.expand(x), mask)
        mask = strided(mask, self.stride)
        y = self.depthwise(y)
        if self.excite is not None:
            y = self.excite(masked(y, mask), mask)
        y = masked(self.project(y), mask)
        return (x + y if self.skip else y), mask


class MobileNetV3(Student):
    """MobileNetV3-Large for log-mels, the student of EfficientAT and of S-SONDO.

    Howard et al. 2019, "Searching for MobileNetV3" (arXiv 1905.02244, table 1), as Schmid et al. 2023, "Efficient
    Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation" (arXiv 2211.04772), and S-SONDO
    (El Adlouni et al. 2026, arXiv 2604.24933) take it: one input channel, every number of channels times the
    width multiplier and rounded to a multiple of 8. The mean over bands and time of the last convolution is the
    embedding; a hidden layer with hard swish and dropout, and a linear one, classify. 4,876,831 parameters for 527
    classes with a multiplier of 1 (published as 4.88 M), 983 k with 0.4; published for 128 bands.

    In evaluation the result for a clip does not depend on its batch's padding. In training
    it does a little, as in the default student: batch norms count the padded frames.

    Differs from the published code: the input is normalised by `InputNorm`, batch norms keep PyTorch's momentum of
    0.1 in place of 0.01, which a training of some hundred steps would be too short for, and the excitation's mean
    is over valid frames.

    Parameters
    ----------
    n_classes : int
    n_mels : int, default=128
    **options
        Fields of `MobileNetV3.Settings`.

    Attributes
    ----------
    embedding_width : int
        960 times the multiplier, rounded.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames, or None where all
    clips fill their rows, to `StudentOutput`.
    """

    name = "mobilenet_v3"
    summary = "MobileNetV3-Large as published by EfficientAT and S-SONDO, 0.7 M parameters at width 0.4, embedding 384"

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        width_multiplier: float = setting(
            0.4, "channels over those published, which has 0.1, 0.4, 0.5, 1, 2, 3 and 4", at_least=0.1, at_most=4
        )
        dropout: float = setting(0.2, "before the last layer, as published", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int = 128, **options: Any):
        super().__init__(n_classes, n_mels, **options)

        def scaled(count: int) -> int:
            return divisible(count * self.settings.width_multiplier)

        channels = scaled(STEM)
        self.stem = ConvNorm(1, channels, 3, stride=2, act=F.hardswish)
        self.blocks = nn.ModuleList()
        for kernel, expanded, count, excited, swish, stride in BLOCKS:
            act = F.hardswish if swish else torch.relu
            self.blocks.append(Inverted(channels, scaled(expanded), scaled(count), kernel, stride, excited, act))
            channels = scaled(count)
        self.embedding_width = LAST_TIMES * channels
        self.last = ConvNorm(channels, self.embedding_width, act=F.hardswish)
        self.classify = nn.Sequential(
            nn.Linear(self.embedding_width, scaled(HIDDEN)),
            nn.Hardswish(),
            nn.Dropout(self.settings.dropout),
            nn.Linear(scaled(HIDDEN), n_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        mask = frame_mask(lengths, features.shape[-1])
        x = self.norm(features, mask).unsqueeze(1)
        mask = None if mask is None else mask[:, None, None, ::2]
        x = masked(self.stem(x), mask)
        maps = []
        for number, block in enumerate(self.blocks):
            x, mask = block(x, mask)
            if self.training and number in STAGES:
                maps.append(x)
        embedding, frames = pooled_mean(masked(self.last(x), mask), mask)
        logits = self.classify(embedding)
        return StudentOutput(logits, embedding, frames, Stages(maps, frames) if self.training else ())
