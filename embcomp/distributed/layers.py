"""Layers that look at a whole batch, where each of several processes has a share of it: batch norm and dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

from embcomp.distributed.share import Share


@contextlib.contextmanager
def shared_layers(share: Share | None) -> Iterator[None]:
    """Run a module on a share of a batch, with the results that it has on the whole batch.

    Batch norms take mean and variance over the clips of all processes, forward and backward (synchronised batch norm),
    whatever module calls them. Dropout draws for the whole batch, with one generator state in all processes, and
    each takes what falls on its clips. Nothing changes where `share` is None.

    Parameters
    ----------
    share : Share or None
    """
    if share is None:
        yield
        return
    with share.entered(), _Shared(share):
        yield


class _Shared(TorchFunctionMode):
    """Takes the calls of batch norm and dropout in training."""

    def __init__(self, share: Share):
        super().__init__()
        self.share = share

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        taken = _TAKEN.get(function)
        return function(*args, **kwargs or {}) if taken is None else taken(self.share, *args, **kwargs or {})


def _batch_norm(
    share: Share,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return _SharedNorm.apply(x, weight, bias, running_mean, running_var, momentum, eps, share)


def _dropout(of: Callable) -> Callable:
    """Dropout of any kind, for a share."""

    def taken(share: Share, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return of(x, p, training, inplace)
        if of is not F.dropout:  # whole channels
            return x * of(x.new_ones(share.whole, x.shape[1], *[1] * (x.dim() - 2)), p, True)[share.own]
        # As it would be laid out in memory, by which numbers are drawn.
        layout = torch.channels_last if x.dim() == 4 and _is_channels_last(x) else torch.contiguous_format
        ones = torch.ones((share.whole, *x.shape[1:]), dtype=x.dtype, device=x.device).contiguous(memory_format=layout)
        return x * of(ones, p, True)[share.own]

    return taken


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


_TAKEN = {F.batch_norm: _batch_norm} | {
    one: _dropout(one) for one in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
}


class _SharedNorm(torch.autograd.Function):
    """Batch norm whose mean and variance are those of the whole batch.

    Sums are of differences from the running mean, in double; what is left is elementwise, with torch's own kernels.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        eps: float,
        share: Share,
    ) -> Tensor:
        channels = x.shape[1]
        count = x.numel() // channels // len(x)
        total = count * share.whole
        if total < 2:
            raise ValueError(f"expected more than 1 value per channel in training, got a batch of {share.whole}")
        axes = [axis for axis in range(x.dim()) if axis != 1]
        pivot = torch.zeros(channels, dtype=torch.float64, device=x.device)
        if running_mean is not None:
            pivot += running_mean
        wide = x.dtype if x.dtype == torch.float64 else torch.float32
        variance, mean = (found.double() for found in torch.var_mean(x.to(wide), axes, correction=0))
        off, own = mean - pivot, count * len(x)
        sums = share.group.sum_(torch.stack([own * off, own * (variance + off.square())]))
        off, square = sums / total
        mean, variance = pivot + off, (square - off.square()).clamp(min=0)
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * total / (total - 1)).to(running_var.dtype), momentum)
        mean, variance = mean.to(wide), variance.to(wide)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.share, ctx.total = eps, share, total
        return torch.ops.aten.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = ctx.share.group.sum_(torch.stack([of_weight, of_bias]).double())
        inverse = (variance.double() + ctx.eps).rsqrt()
        slope, offset = scale * inverse / ctx.total * sums * torch.stack([inverse, torch.ones_like(inverse)])
        shape = [1, -1, *[1] * (x.dim() - 2)]
        slope, offset = slope.to(mean.dtype).view(shape), offset.to(mean.dtype).view(shape)
        of_x = of_x - ((x - mean.view(shape)) * slope + offset).to(of_x.dtype)
        if weight is None:
            of_weight = of_bias = None
        return of_x, of_weight, of_bias, None, None, None, None, None
