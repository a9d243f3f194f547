"""Batch norm, ReLU and mask as one step, which reads and writes the maps as seldom as it can."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from embcomp.distributed import active
from embcomp.students.output import masked

# torch before 2.7 does not tell exporting from compiling.
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def channels_last(x: Tensor) -> Tensor:
    """Maps (n, channels, bands, frames) with the channels of a place side by side in memory.

    Convolutions and batch norms of small maps are faster so. It must be asked for behind the first convolution:
    maps of one channel look the same in both layouts, and whatever follows would keep the slower one.
    An exported graph has no layout of memory; asking for one would bind it to clips of a least length.
    """
    return x if is_exporting() else x.contiguous(memory_format=torch.channels_last)


class NormReLU(nn.BatchNorm2d):
    """Batch norm, then ReLU, then zeros where a clip has ended.

    Parameters, buffers and values are those of ``torch.relu(BatchNorm2d(channels)(x)) * mask``. In training on a
    CPU the three share one node of the graph: ReLU and mask work in place, and one threshold takes the gradient
    through both, since what the mask set to zero is as closed as what the ReLU did.

    Shape
    -----
    Maps ``(n, channels, bands, frames)`` and mask ``(n, 1, 1, frames)``, or None where every clip fills its row, to
    maps of the same shape.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # Of a single place the base class refuses to take a variance; of a share of a batch it takes that of the whole.
        if (
            active() is not None
            or not self.training
            or x.device.type != "cpu"
            or torch.compiler.is_compiling()
            or x.numel() == x.shape[1]
        ):
            return masked(torch.relu(super().forward(x)), mask)
        return _NormReLU.apply(
            x, self.weight, self.bias, self.running_mean, self.running_var, next_share(self), self.eps, mask
        )


def next_share(norm: nn.BatchNorm2d) -> float:
    """The share that the next batch has in a norm's running statistics; it is counted as seen."""
    norm.num_batches_tracked.add_(1)
    # As the base class has it: no momentum asks for the mean over all batches seen.
    return 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        mask: Tensor | None,
    ) -> Tensor:
        y, mean, inverse = torch.ops.aten.native_batch_norm(
            x, weight, bias, running_mean, running_var, True, momentum, eps
        )
        y.relu_()
        if mask is not None:
            y.mul_(mask)
        ctx.save_for_backward(x, weight, mean, inverse, y)
        ctx.eps = eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, y = ctx.saved_tensors
        open_ = torch.ops.aten.threshold_backward(gradient, y, 0)
        gradients = torch.ops.aten.native_batch_norm_backward(
            open_, x, weight, None, None, mean, inverse, True, ctx.eps, list(ctx.needs_input_grad[:3])
        )
        return (*gradients, None, None, None, None, None)
