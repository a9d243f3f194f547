"""The published student of 5.5 million parameters: a residual network with a bounded receptive field."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from embcomp.students.base import Student
from embcomp.students.norm import NormReLU, channels_last
from embcomp.students.output import Stages, StudentOutput, frame_mask, masked
from embcomp.students.pooling import max_pool, pooled_mean

# Kernels of the two convolutions of each block for rho = 7, stage by stage.
KERNELS = (
    ((3, 1), (3, 3), (3, 3), (3, 3)),
    ((3, 1), (1, 3), (1, 3), (1, 3)),
    ((1, 1), (1, 1), (1, 1), (1, 1)),
)
POOLED = ((0, 0), (0, 1), (0, 3))  # stage and block that a 2x2 maximum follows
WIDTH = 128


class Residual(nn.Module):
    """Two convolutions with batch norm beside a shortcut, which is a 1x1 convolution where channels change.

    Frames past a clip's end are set to zero before either convolution looks at neighbours.
    """

    def __init__(self, channels: int, out_channels: int, kernels: tuple[int, int]):
        super().__init__()
        first, second = kernels
        self.conv1 = nn.Conv2d(channels, out_channels, first, padding=first // 2, bias=False)
        self.norm1 = NormReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, second, padding=second // 2, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.norm1(self.conv1(x), mask)
        return masked(torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x)), mask)


class CPResNet(Student):
    """CP-ResNet with rho = 7 and 128 channels, the OpenMIC student of EAsT.

    Koutini et al. 2019, "The Receptive Field as a Regularizer in Deep Convolutional Neural Networks for
    Acoustic Scene Classification" (arXiv 1907.01803), as Ding & Lerch 2023 (arXiv 2306.17424) use it: a
    strided 5x5 stem, three stages of four residual blocks with 128, 256 and 512 channels, the mean over
    bands and time, a linear classifier. The embedding is that mean. 5,534,612 parameters for 20 classes,
    whatever `n_mels`; published for 128 bands.

    In evaluation the result for a clip does not depend on its batch's padding. In training
    it does a little, as in the default student: batch norms count the padded frames.

    Differs from the published code: the input is normalised by `InputNorm`, a last odd frame or
    band enters the pooling instead of being dropped, and all convolutions start from the
    values of He et al. 2015, where theirs start each block's second one at zero.

    Parameters
    ----------
    n_classes : int
    n_mels : int, default=128
    **options
        Fields of `CPResNet.Settings`.

    Attributes
    ----------
    embedding_width : int
        512.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames, or None where all
    clips fill their rows, to `StudentOutput`.
    """

    name = "cp_resnet"
    summary = "CP-ResNet as published by EAsT for OpenMIC, 5.5 M parameters, embedding 512"

    def __init__(self, n_classes: int, n_mels: int = 128, **options: Any):
        super().__init__(n_classes, n_mels, **options)
        self.embedding_width = 4 * WIDTH
        self.stem = nn.Conv2d(1, WIDTH, 5, stride=2, padding=2, bias=False)
        self.stem_norm = NormReLU(WIDTH)
        self.stages = nn.ModuleList()
        channels = WIDTH
        for number, kernels in enumerate(KERNELS):
            stage = nn.ModuleList()
            for pair in kernels:
                stage.append(Residual(channels, WIDTH * 2**number, pair))
                channels = WIDTH * 2**number
            self.stages.append(stage)
        self.classify = nn.Linear(self.embedding_width, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        mask = frame_mask(lengths, features.shape[-1])
        x = channels_last(self.stem(self.norm(features, mask).unsqueeze(1)))
        mask = None if mask is None else mask[:, None, None, ::2]
        x = self.stem_norm(x, mask)
        maps = []
        for number, stage in enumerate(self.stages):
            if self.training and number:
                maps.append(x)
            for position, block in enumerate(stage):
                x = block(x, mask)
                if (number, position) in POOLED:
                    x, mask = max_pool(x, mask, (2, 2))
        embedding, frames = pooled_mean(x, mask)
        return StudentOutput(self.classify(embedding), embedding, frames, Stages(maps, frames) if self.training else ())
