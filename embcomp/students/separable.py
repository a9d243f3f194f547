"""The depthwise-separable block of the small students."""

from __future__ import annotations

from torch import Tensor, nn

from embcomp.students import fused
from embcomp.students.norm import NormReLU
from embcomp.students.pooling import strided


class Separable(nn.Module):
    """Depthwise 3x3 then pointwise 1x1 convolution, each with batch norm and ReLU.

    Frames past a clip's end are set to zero again at the end, before the next
    block looks at neighbours, so that a clip's output does not depend on how far
    its batch was padded.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, residual: bool = True):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
        self.norm1 = NormReLU(channels)
        self.pointwise = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.norm2 = NormReLU(out_channels)
        self.stride = stride
        self.skip = residual and stride == 1 and channels == out_channels

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        mask = strided(mask, self.stride)
        learning = self.norm1.training and self.norm2.training
        if learning and fused.usable(x, fused.halved(x, self.stride), self.depthwise, self.pointwise):
            layers = (self.depthwise, self.norm1, self.pointwise, self.norm2)
            return fused.separable(x, *layers, mask, self.skip), mask
        y = self.norm1(self.depthwise(x))
        y = self.norm2(self.pointwise(y), mask)
        return (x + y if self.skip else y), mask
