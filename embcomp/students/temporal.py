"""The convolutions over time of `TCResNet` as single nodes of the graph, on the kernels of `embcomp.students.compiled`.

Between these nodes maps are (n, frames, room): the channels of a frame side by side, followed by zeros until they fill
whole registers. The values are those of the layers to rounding, forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from embcomp.distributed import active, adding
from embcomp.students import compiled
from embcomp.students.compiled import addresses, threads_for
from embcomp.students.fused import norm_arguments
from embcomp.students.norm import NormReLU


def usable(x: Tensor, norms: Sequence[nn.BatchNorm2d]) -> bool:
    """Whether the kernels can take log-mels `x`, which get no gradient, through layers in training.

    Parameters
    ----------
    x : Tensor of shape (n, n_mels, frames)
    norms : sequence of nn.BatchNorm2d
        Of all layers.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.requires_grad or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling() or compiled.kernels() is None:
        return False
    share = active()  # all processes must decide alike
    clips = len(x) if share is None else share.whole
    # Of a single clip, one frame may be all that is left, which has no variance; the layers say so.
    return clips > 1 and all(norm.training and norm.weight.dtype == torch.float32 for norm in norms)


def stem(x: Tensor, convolution: nn.Conv2d, norm: NormReLU, mask: Tensor | None) -> Tensor:
    """``norm(convolution(x), mask)`` of log-mels (n, n_mels, frames) whose bands are channels, as (n, frames, room)."""
    return _Stem.apply(x.contiguous(), convolution.weight, norm.weight, norm.bias, mask, norm)


def residual(
    x: Tensor,
    first: tuple[nn.Conv2d, nn.BatchNorm2d],
    second: tuple[nn.Conv2d, nn.BatchNorm2d],
    shortcut: tuple[nn.Conv2d, nn.BatchNorm2d] | None,
    mask: Tensor | None,
) -> Tensor:
    """``relu(second(relu(first(x)) * mask) + beside) * mask``, each a convolution and its norm.

    Parameters
    ----------
    x : Tensor of shape (n, frames, room)
    first, second : convolution over 9 frames and its norm
        The first with a stride of 1 or 2.
    shortcut : convolution over one frame and its norm, or None
        ``beside`` is ``relu(shortcut(x)) * mask``, or `x`.
    mask : Tensor of shape (n, frames), or None
        Of the result.
    """
    layers = [first, second] + [shortcut] * (shortcut is not None)
    weights = [part for convolution, norm in layers for part in (convolution.weight, norm.weight, norm.bias)]
    weights += [None] * (9 - len(weights))
    return _Residual.apply(x, *weights, mask, [norm for _, norm in layers], first[0].stride[1])


def seen(x: Tensor, channels: int) -> Tensor:
    """Maps (n, frames, room) as (n, frames, channels)."""
    return x if x.shape[2] == channels else x[..., :channels]


def _room(channels: int) -> int:
    lanes = compiled.kernels().lanes()
    return -(-channels // lanes) * lanes


class _Stem(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, mask: Tensor | None, norm: NormReLU
    ) -> Tensor:
        clips, bands, frames = x.shape
        weight, wide, room = weight.contiguous(), len(weight), _room(len(weight))
        z, out = (torch.empty(clips, frames, room) for _ in range(2))
        found = torch.empty(4, room)
        ctx.sizes, ctx.share = (threads_for(clips), clips, bands, frames, wide), active()
        with adding(ctx.share, clips) as over:
            compiled.kernels().temporal_stem(
                *(*ctx.sizes, *over, *addresses(x, weight), *norm_arguments(norm)),
                *addresses(mask, z, found, out),
            )
        ctx.save_for_backward(x, mask, z, found)
        ctx.shapes = weight.shape, scale.shape, bias.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradient.contiguous()
        found = [torch.empty(shape) for shape in ctx.shapes]
        with adding(ctx.share, ctx.sizes[1]) as over:
            compiled.kernels().temporal_stem_backward(
                *(*ctx.sizes, *over, *addresses(gradient, *ctx.saved_tensors, *found))
            )
        return None, *found, None, None


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        conv1: Tensor,
        scale1: Tensor,
        bias1: Tensor,
        conv2: Tensor,
        scale2: Tensor,
        bias2: Tensor,
        shortcut: Tensor | None,
        scale3: Tensor | None,
        bias3: Tensor | None,
        mask: Tensor | None,
        norms: list[nn.BatchNorm2d],
        stride: int,
    ) -> Tensor:
        clips, frames, _ = x.shape
        wide, channels = conv1.shape[:2]
        room, length = _room(wide), -(-frames // stride)
        z1, z2, out = (torch.empty(clips, length, room) for _ in range(3))
        z3 = None if shortcut is None else torch.empty_like(z1)
        found1, found2, found3 = (torch.empty(4, room) for _ in range(3))
        ctx.sizes, ctx.share = (threads_for(clips), clips, frames, channels, wide, stride), active()
        conv1, conv2 = conv1.contiguous(), conv2.contiguous()
        shortcut = None if shortcut is None else shortcut.contiguous()
        third = (None,) * 4 + (0.0, 0.0) if shortcut is None else norm_arguments(norms[2])
        with adding(ctx.share, clips) as over:
            compiled.kernels().residual(
                *(*ctx.sizes, *over, *addresses(x, conv1), *norm_arguments(norms[0]), *addresses(conv2)),
                *(*norm_arguments(norms[1]), *addresses(shortcut), *third),
                *addresses(mask, z1, z2, z3, found1, found2, found3, out),
            )
        ctx.save_for_backward(x, conv1, conv2, shortcut, mask, z1, z2, z3, found1, found2, found3, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, conv1, conv2, shortcut = ctx.saved_tensors[:4]
        gradient, wide = gradient.contiguous(), len(conv1)
        of_x, of_conv1, of_conv2 = (torch.empty(one.shape) for one in (x, conv1, conv2))
        of_shortcut = None if shortcut is None else torch.empty(shortcut.shape)
        scales = [torch.empty(wide) if number < 4 or shortcut is not None else None for number in range(6)]
        found = (of_x, of_conv1, *scales[:2], of_conv2, *scales[2:4], of_shortcut, *scales[4:])
        with adding(ctx.share, len(x)) as over:
            compiled.kernels().residual_backward(*ctx.sizes, *over, *addresses(gradient, *ctx.saved_tensors, *found))
        return *found, None, None, None
