"""Convolutions with batch norm, ReLU and mask as single nodes of the graph, on the kernels of ``kernels.cpp``.

The values are those of the layers to rounding. What lies between the convolutions is never written to memory, and
of a node only its input and what its convolutions gave are kept for the backward pass. Under autocast maps are kept
in bfloat16; sums, statistics and weights stay in float32 or better.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from embcomp.students.compiled import kernels
from embcomp.students.norm import NormReLU, channels_last


def usable(x: Tensor, size: tuple[int, int], *convolutions: nn.Conv2d) -> bool:
    """Whether the kernels can take these convolutions of maps `x` to maps of `size`, bands and frames, in training."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    if any(convolution.weight.dtype != torch.float32 for convolution in convolutions) or kernels() is None:
        return False
    channels = {count for convolution in convolutions for count in convolution.weight.shape[:2] if count > 1}
    # Of a single place there is no variance; the layer says so.
    return len(x) * size[0] * size[1] > 1 and not any(count % kernels().lanes() for count in channels)


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
    return _Single.apply(x.float().contiguous(), *weights, _per_frame(mask), norm, "stem", halved(x))


def across(x: Tensor, convolution: nn.Conv2d, norm: NormReLU, mask: Tensor | None) -> Tensor:
    """``norm(convolution(x), mask)`` of a depthwise convolution across all bands."""
    weights = (convolution.weight, norm.weight, norm.bias)
    return _Single.apply(_stored(x), *weights, _per_frame(mask), norm, "across", (1, x.shape[3]))


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
        library, team = kernels(x.dtype), _Team(len(x))
        (_, channels, bands, frames), wide = x.shape, len(pointwise)
        kernel, weight = _taps_first(depthwise), pointwise.view(wide, channels).t().contiguous()
        high, length = halved(x, stride)
        z1, z2, out = (_maps(x, count, high, length) for count in (channels, wide, wide))
        sums1, sums2 = (team.zeros(2, count, dtype=torch.float64) for count in (channels, wide))

        sizes = (bands, frames, channels, stride)
        room = torch.empty(team.size, (bands + 2) * (frames + 2) * library.lanes())
        team.run(library.depthwise, *sizes, x, kernel, norms[0].running_mean, z1, _Each(sums1), _Each(room))
        norm1 = _finish(norms[0], weight1, bias1, z1, sums1)
        sizes = (high * length, channels, wide)
        team.run(library.pointwise, *sizes, z1, norm1, weight, norms[1].running_mean, z2, _Each(sums2))
        norm2 = _finish(norms[1], weight2, bias2, z2, sums2)
        team.run(library.activate, high, length, wide, z2, norm2, mask, x if skip else None, out)
        ctx.save_for_backward(x, z1, z2, norm1, norm2, kernel, pointwise, mask)
        ctx.stride, ctx.skip = stride, skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, z1, z2, norm1, norm2, kernel, pointwise, mask = ctx.saved_tensors
        library, team, gradient = kernels(x.dtype), _Team(len(x)), channels_last(gradient)
        (_, channels, bands, frames), (_, wide, high, length) = x.shape, z2.shape
        sums1, sums2 = (team.zeros(2, count, dtype=torch.float64) for count in (channels, wide))
        of_kernel, of_pointwise = team.zeros(9, channels), team.zeros(wide, channels)
        g1, of_x = torch.empty_like(z1), torch.empty_like(x)
        rooms = torch.empty(team.size, 2 * (bands + 2) * (frames + 2) * library.lanes())

        team.run(library.activate_backward, high, length, wide, gradient, z2, norm2, mask, _Each(sums2))
        back2, *of_norm2 = _finish_backward(norm2, z2, sums2)
        sizes, second = (high, length, channels, wide), (gradient, z2, norm2, back2, mask)
        found = (g1, _Each(of_pointwise), _Each(sums1))
        team.run(library.pointwise_backward, *sizes, *second, z1, norm1, pointwise, *found)
        back1, *of_norm1 = _finish_backward(norm1, z1, sums1)
        sizes, first = (bands, frames, channels, ctx.stride), (x, kernel, g1, z1, norm1, back1)
        found = (of_x, _Each(of_kernel), _Each(rooms))
        team.run(library.depthwise_backward, *sizes, *first, gradient if ctx.skip else None, *found)
        of_depthwise = of_kernel.sum(0).t().reshape(channels, 1, 3, 3)
        return of_x, of_depthwise, *of_norm1, of_pointwise.sum(0).view_as(pointwise), *of_norm2, None, None, None, None


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
        name: str,
        size: tuple[int, int],
    ) -> Tensor:
        dtype = _storage() if name == "stem" else x.dtype
        library, team = kernels(dtype), _Team(len(x))
        channels, kernel = len(weight), _taps_first(weight)
        z, out = (_maps(x, channels, *size, dtype=dtype) for _ in range(2))
        sums = team.zeros(2, channels, dtype=torch.float64)
        team.run(getattr(library, name), *x.shape[2:], channels, x, kernel, norm.running_mean, z, _Each(sums))
        found = _finish(norm, scale, bias, z, sums)
        team.run(library.activate, *size, channels, z, found, mask, None, out)
        ctx.save_for_backward(x, z, found, kernel, mask)
        ctx.name, ctx.shape = name, weight.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, z, norm, kernel, mask = ctx.saved_tensors
        library, team = kernels(z.dtype), _Team(len(x))
        gradient = channels_last(gradient)
        channels = z.shape[1]
        sums, of_kernel = team.zeros(2, channels, dtype=torch.float64), team.zeros(*kernel.shape)
        team.run(library.activate_backward, *z.shape[2:], channels, gradient, z, norm, mask, _Each(sums))
        back, *of_norm = _finish_backward(norm, z, sums)
        of_x = None if ctx.name == "stem" else torch.empty_like(x)
        more = () if of_x is None else (kernel, of_x)
        sizes, given = (*x.shape[2:], channels), (x, gradient, z, norm, back, mask)
        team.run(getattr(library, f"{ctx.name}_backward"), *sizes, *given, _Each(of_kernel), *more)
        return of_x, of_kernel.sum(0).t().reshape(ctx.shape), *of_norm, None, None, None, None


class _Each:
    """A tensor of which every thread has its own part, along the first axis."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class _Team:
    """As many threads as torch has, each with its share of a batch's clips."""

    pool: ThreadPoolExecutor | None = None

    def __init__(self, clips: int):
        self.size = max(1, min(torch.get_num_threads(), clips))
        self.bounds = [clips * number // self.size for number in range(self.size + 1)]

    def zeros(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """One for each thread."""
        return torch.zeros(self.size, *shape, dtype=dtype)

    def run(self, function: Callable[..., None], *arguments: int | Tensor | _Each | None) -> None:
        """`function` of each thread's first clip, the one after its last, and `arguments`."""

        def part(number: int) -> None:
            function(*self.bounds[number : number + 2], *(_address(argument, number) for argument in arguments))

        others = [self._pool().submit(part, number) for number in range(1, self.size)]
        part(0)
        for other in others:
            other.result()

    def _pool(self) -> ThreadPoolExecutor:
        if _Team.pool is None or _Team.pool._max_workers < self.size - 1:
            _Team.pool = ThreadPoolExecutor(self.size - 1)
        return _Team.pool


def _address(argument: int | Tensor | _Each | None, number: int) -> int | None:
    if isinstance(argument, _Each):
        return argument.tensor.data_ptr() + number * argument.tensor.stride(0) * argument.tensor.element_size()
    return argument.data_ptr() if isinstance(argument, Tensor) else argument


def _storage() -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def _stored(x: Tensor) -> Tensor:
    """Maps as the kernels want them."""
    return channels_last(x.to(_storage()))


def _per_frame(mask: Tensor | None) -> Tensor | None:
    """A mask (n, 1, 1, frames) as (n, frames), float32."""
    return None if mask is None else mask.flatten(1).float().contiguous()


def _taps_first(weight: Tensor) -> Tensor:
    """Weights (channels, 1, height, width) as (taps, channels)."""
    return weight.flatten(1).t().contiguous()


def _maps(like: Tensor, channels: int, bands: int, frames: int, dtype: torch.dtype | None = None) -> Tensor:
    shape = (len(like), channels, bands, frames)
    return torch.empty(shape, dtype=dtype or like.dtype, memory_format=torch.channels_last)


def _finish(layer: NormReLU, weight: Tensor, bias: Tensor, z: Tensor, sums: Tensor) -> Tensor:
    """Mean, 1 / deviation, scale and shift (4, channels) from the sums over `z`; the layer's statistics follow."""
    norm = torch.empty(4, z.shape[1])
    mean, variance = layer.running_mean, layer.running_var
    addresses = (tensor.data_ptr() for tensor in (sums, mean, weight, bias))
    count = z.numel() // z.shape[1]
    kernels().norm_finish(
        *(len(sums), z.shape[1], count, *addresses, layer.eps, layer.next_share()),
        *(tensor.data_ptr() for tensor in (mean, variance, norm)),
    )
    return norm


def _finish_backward(norm: Tensor, z: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope and offset of the gradient of `z` (2, channels), and the gradients of weight and bias."""
    channels = norm.shape[1]
    found = torch.empty(4, channels)
    addresses = (tensor.data_ptr() for tensor in (sums, norm, found[2], found[3], found))
    kernels().norm_finish_backward(len(sums), channels, z.numel() // channels, *addresses)
    return found[:2], found[2], found[3]
