"""Convolutions with batch norm, ReLU and mask as single nodes of the graph, on the kernels of `embcomp.students.compiled`.

The values are those of the layers to rounding. What lies between the convolutions is never written to memory, and
of a node only its input and what its convolutions gave are kept for the backward pass. Under autocast maps are kept
in bfloat16; sums, statistics and weights stay in float32 or better.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from embcomp.distributed import active, adding
from embcomp.students import compiled
from embcomp.students.compiled import addresses, threads_for
from embcomp.students.norm import NormReLU, channels_last, next_share


def usable(x: Tensor, size: tuple[int, int], *convolutions: nn.Conv2d) -> bool:
    """Whether the kernels can take these convolutions of maps `x` to maps of `size`, bands and frames, in training."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    if any(convolution.weight.dtype != torch.float32 for convolution in convolutions) or compiled.kernels() is None:
        return False
    channels = {count for convolution in convolutions for count in convolution.weight.shape[:2] if count > 1}
    # Of a single place there is no variance; the layer says so.
    share = active()  # all processes must decide alike
    clips = len(x) if share is None else share.whole
    return clips * size[0] * size[1] > 1 and not any(count % compiled.kernels().lanes() for count in channels)


def halved(x: Tensor, stride: int = 2) -> tuple[int, int]:
    """Bands and frames of maps `x` behind a padded 3x3 convolution with a stride."""
    return -(-x.shape[2] // stride), -(-x.shape[3] // stride)


def separable(
    x: Tensor,
    depthwise: nn.Conv2d,
    norm1: NormReLU,
    pointwise: nn.Conv2d,
    norm2: NormReLU,
    mask: Tensor | None,
    skip: bool,
) -> Tensor:
    """``norm2(pointwise(norm1(depthwise(x))), mask)``, plus `x` if `skip`; the norms are in training."""
    weights = (depthwise.weight, norm1.weight, norm1.bias, pointwise.weight, norm2.weight, norm2.bias)
    return _Separable.apply(_stored(x), *weights, _per_frame(mask), (norm1, norm2), depthwise.stride[0], skip)


def stem(x: Tensor, convolution: nn.Conv2d, norm: NormReLU, mask: Tensor | None) -> Tensor:
    """``norm(convolution(x), mask)`` of a 3x3 convolution with stride 2 of one channel, which gets no gradient."""
    weights = (convolution.weight, norm.weight, norm.bias)
    return _Single.apply(x.float().contiguous(), *weights, _per_frame(mask), norm, True, halved(x))


def across(x: Tensor, convolution: nn.Conv2d, norm: NormReLU, mask: Tensor | None) -> Tensor:
    """``norm(convolution(x), mask)`` of a depthwise convolution across all bands."""
    weights = (convolution.weight, norm.weight, norm.bias)
    return _Single.apply(_stored(x), *weights, _per_frame(mask), norm, False, (1, x.shape[3]))


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        depthwise: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        pointwise: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        mask: Tensor | None,
        norms: tuple[NormReLU, NormReLU],
        stride: int,
        skip: bool,
    ) -> Tensor:
        clips, channels, bands, frames = x.shape
        wide, size = len(pointwise), halved(x, stride)
        z1, z2, out = (_maps(x, count, *size) for count in (channels, wide, wide))
        norm1, norm2 = torch.empty(4, channels), torch.empty(4, wide)
        ctx.sizes, ctx.share = (threads_for(clips), clips, bands, frames, channels, wide, stride, skip), active()
        with adding(ctx.share, clips) as over:
            compiled.kernels(x.dtype).separable(
                *(
                    *ctx.sizes,
                    *over,
                    *addresses(x, depthwise),
                    *norm_arguments(norms[0]),
                    *addresses(pointwise),
                    *norm_arguments(norms[1]),
                ),
                *addresses(mask, z1, z2, norm1, norm2, out),
            )
        ctx.save_for_backward(x, depthwise, pointwise, mask, z1, z2, norm1, norm2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, depthwise, pointwise, mask, z1, z2, norm1, norm2 = ctx.saved_tensors
        gradient = channels_last(gradient)
        of_x, of_depthwise, of_pointwise = map(torch.empty_like, (x, depthwise, pointwise))
        of_norm1, of_norm2 = torch.empty_like(norm1[:2]), torch.empty_like(norm2[:2])
        found = (of_x, of_depthwise, *of_norm1, of_pointwise, *of_norm2)
        with adding(ctx.share, len(x)) as over:
            compiled.kernels(x.dtype).separable_backward(
                *ctx.sizes, *over, *addresses(gradient, *ctx.saved_tensors, *found)
            )
        return *found, None, None, None, None


class _Single(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        mask: Tensor | None,
        norm: NormReLU,
        is_stem: bool,
        size: tuple[int, int],
    ) -> Tensor:
        dtype = _storage() if is_stem else x.dtype
        z, out = (_maps(x, len(weight), *size, dtype=dtype) for _ in range(2))
        found = torch.empty(4, len(weight))
        ctx.sizes, ctx.share = (threads_for(len(x)), len(x), *x.shape[2:], len(weight), is_stem), active()
        with adding(ctx.share, len(x)) as over:
            compiled.kernels(dtype).single(
                *ctx.sizes, *over, *addresses(x, weight), *norm_arguments(norm), *addresses(mask, z, found, out)
            )
        ctx.save_for_backward(x, weight, mask, z, found)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, _, z, norm = ctx.saved_tensors
        of_x = None if ctx.sizes[-1] else torch.empty_like(x)
        found = (of_x, torch.empty_like(weight), *torch.empty_like(norm[:2]))
        gradient = channels_last(gradient)
        with adding(ctx.share, len(x)) as over:
            compiled.kernels(z.dtype).single_backward(
                *ctx.sizes, *over, *addresses(gradient, *ctx.saved_tensors, *found)
            )
        return *found, None, None, None, None


def norm_arguments(layer: nn.BatchNorm2d) -> tuple[int | float, ...]:
    """A batch norm as the kernels want it; the next batch is counted as seen."""
    return (
        *(layer.weight.data_ptr(), layer.bias.data_ptr(), layer.running_mean.data_ptr(), layer.running_var.data_ptr()),
        *(layer.eps, next_share(layer)),
    )


def _storage() -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def _stored(x: Tensor) -> Tensor:
    """Maps as the kernels want them."""
    return channels_last(x.to(_storage()))


def _per_frame(mask: Tensor | None) -> Tensor | None:
    """A mask (n, 1, 1, frames) as (n, frames), float32."""
    return None if mask is None else mask.flatten(1).float().contiguous()


def _maps(like: Tensor, channels: int, bands: int, frames: int, dtype: torch.dtype | None = None) -> Tensor:
    shape = (len(like), channels, bands, frames)
    return torch.empty(shape, dtype=dtype or like.dtype, memory_format=torch.channels_last)
