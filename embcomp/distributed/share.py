"""A process's share of a batch: which clips, and the sums that layers take over the whole batch."""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from embcomp.distributed.group import ALONE, Group


@dataclass(frozen=True)
class Share:
    """The clips of a batch that one process works on: neighbours, the shares as even as they can be.

    Attributes
    ----------
    whole : int
        Clips of the batch.
    first, last : int
        Number of the first clip of the share, and of the first one behind it.
    group : Group
        The processes.

    Examples
    --------
    >>> [Share.of(5, Group(rank, 2)).own for rank in (0, 1)]
    [slice(0, 2, None), slice(2, 5, None)]
    """

    whole: int
    first: int
    last: int
    group: Group = ALONE

    @classmethod
    def of(cls, whole: int, group: Group) -> Share:
        """The share of this process in a batch of `whole` clips."""
        return cls(whole, whole * group.rank // group.world, whole * (group.rank + 1) // group.world, group)

    @property
    def own(self) -> slice:
        """Where the share lies in the batch."""
        return slice(self.first, self.last)

    def within(self, chosen: Tensor) -> Share:
        """The share of this process in a part of the batch, the clips `chosen`, bool (whole,)."""
        before = int(chosen[: self.first].sum())
        return Share(int(chosen.sum()), before, before + int(chosen[self.own].sum()), self.group)

    def gathered(self, *tensors: Tensor) -> list[Tensor]:
        """Rows of the whole batch from those of each share, in one exchange, without a gradient.

        Parameters
        ----------
        *tensors : Tensor of shape (n, ...)
            Of the share, on one device; numbers as they fit in the widest type among them.

        Returns
        -------
        list of Tensor of shape (whole, ...)
        """
        if self.group.world == 1:
            return list(tensors)
        sizes = [math.prod(tensor.shape[1:]) for tensor in tensors]
        flat = torch.cat([tensor.detach().reshape(len(tensor), size) for tensor, size in zip(tensors, sizes)], dim=1)
        # Zeros and a sum, since shares may be of unequal size; adding zero changes no number.
        whole = flat.new_zeros(self.whole, flat.shape[1])
        whole[self.own] = flat
        parts = self.group.sum_(whole).split(sizes, dim=1)
        return [part.to(one.dtype).reshape(self.whole, *one.shape[1:]) for part, one in zip(parts, tensors)]

    def with_gradient(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """As `gathered`, with a gradient: every process takes that of its share from the loss on the whole batch.

        All processes compute the same loss, whose gradient with respect to a process's own rows is complete in each. It
        is multiplied by the number of processes, as `DistributedDataParallel` takes means over them.
        """
        return _WithGradient.apply(self, *tensors)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have batch norm and dropout of what runs in the block see the whole batch; see `embcomp.distributed.layers`."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)


_active: ContextVar[Share | None] = ContextVar("share", default=None)


def active() -> Share | None:
    """The share that a student works on, where there are other processes; else None."""
    return _active.get()


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, share: Share, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.share = share
        ctx.set_materialize_grads(False)
        return tuple(share.gathered(*tensors))

    @staticmethod
    def backward(ctx, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        share = ctx.share
        return None, *(None if one is None else one[share.own] * share.group.world for one in gradients)


_ADD = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_long)


@contextlib.contextmanager
def adding(share: Share | None, clips: int) -> Iterator[tuple[int, int | None]]:
    """What compiled code needs to take sums over a whole batch: how many clips it has, and the address of what adds up.

    Parameters
    ----------
    share : Share or None
        None where the batch is whole.
    clips : int
        Of the process's batch.

    Yields
    ------
    int, int or None
        The second is the address of ``void add(double *numbers, long count)``, which adds up over all processes.
    """
    if share is None:
        yield clips, None
        return
    failed: list[BaseException] = []

    def add(address: int, count: int) -> None:
        try:
            numbers = (ctypes.c_double * count).from_address(address)
            share.group.sum_(torch.frombuffer(numbers, dtype=torch.float64))
        except BaseException as error:  # the compiled code could not pass it on
            failed.append(error)

    function = _ADD(add)
    yield share.whole, ctypes.cast(function, ctypes.c_void_p).value
    if failed:
        raise failed[0]
