"""The processes that train together: joined by what the environment says, as ``torchrun`` sets it."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from embcomp.engines.together import MEETING, own_rank, started_together
from embcomp.errors import ConfigError, ProcessLostError

# A process that dies closes its connections, which the others notice at once; one that reads a slow disk does not.
WAIT = datetime.timedelta(days=1)
LOST = (
    "another process of this training has ended; what it said is above. "
    "The last checkpoint is kept: run the same command again to go on"
)


class Group:
    """Processes that train together; this one by itself unless it has joined others.

    Parameters
    ----------
    rank : int, default=0
        Number of this process, from 0.
    world : int, default=1
        How many there are.

    Examples
    --------
    >>> Group().sum_(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, rank: int = 0, world: int = 1):
        self.rank, self.world = rank, world

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and says what there is to say."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add up a contiguous tensor over all processes, in place; the same bits in each.

        Raises
        ------
        ProcessLostError
            Another process has ended.
        """
        if self.world > 1:
            with _ended():
                dist.all_reduce(tensor)
        return tensor

    def of_first_(self, tensor: Tensor) -> Tensor:
        """What a contiguous tensor holds in the first process, in place."""
        return self.sum_(tensor if self.first else tensor.zero_())

    def of_first(self, value: float) -> float:
        """A number as the first process has it."""
        return float(self.of_first_(torch.tensor(value, dtype=torch.float64))) if self.world > 1 else value

    def check_agreement(self, what: dict[str, Any]) -> None:
        """Refuse to go on where processes differ, since they would wait for each other for ever.

        Parameters
        ----------
        what : dict
            What must be the same, by the name that the message has for it.

        Raises
        ------
        ConfigError
            Names what differs.
        """
        if self.world == 1:
            return
        found: list[Any] = [None] * self.world
        with _ended():
            dist.all_gather_object(found, {name: repr(value) for name, value in what.items()})
        for name in what:
            values = [one[name] for one in found]
            if len(set(values)) > 1:
                raise ConfigError(
                    f"the processes of this training differ in {name}: {', '.join(values)}; start all of them with the "
                    "same command, files and version of embcomp"
                )

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """A block that the first process runs before the others do, for what makes files that all of them read."""
        if not self.first:
            self.meet()
        yield
        if self.first:
            self.meet()

    def meet(self) -> None:
        """Wait for all processes."""
        self.sum_(torch.zeros(1))


ALONE = Group()
_current = ALONE


def current() -> Group:
    """The group that this process has joined, or itself alone."""
    return _current


@contextlib.contextmanager
def joined(device: str = "cpu") -> Iterator[Group]:
    """Join the processes that ``torchrun``, or `embcomp.engines.together`, has started beside this one.

    They meet by ``MASTER_ADDR`` and ``MASTER_PORT``, or on one machine by a file. Tensors of the CPU are summed by
    gloo, those of GPUs by NCCL. Without other processes, nothing happens.

    Parameters
    ----------
    device : str, default="cpu"
        ``cpu`` or ``cuda``, of which each process takes one.

    Raises
    ------
    ConfigError
        There are fewer GPUs than processes on this machine, the device cannot be shared by processes, or the others
        are not to be found.
    """
    global _current
    world = started_together()
    if world == 1 or _current.world > 1:
        yield _current
        return
    rank, kind = own_rank(), torch.device(device).type
    if kind not in ("cpu", "cuda") or ":" in device:
        raise ConfigError(f"several processes train on cpu or cuda, not {device}; leave --processes out, or use cuda")
    backend = "gloo"
    if kind == "cuda":
        local, count = int(os.environ.get("LOCAL_RANK", str(rank))), torch.cuda.device_count()
        if local >= count:
            raise ConfigError(f"process {local + 1} on this machine found {count} GPUs; start one process for each GPU")
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    meeting = os.environ.get(MEETING)
    if meeting or os.environ.get("MASTER_ADDR") in ("127.0.0.1", "localhost"):
        _stay_on_this_machine()
    try:
        store = dist.FileStore(meeting, world) if meeting else None
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=WAIT)
    except (RuntimeError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"process {rank + 1} of {world} did not find the others ({said}); start them with "
            "torchrun --nproc-per-node N -m embcomp ..., or use --processes N"
        ) from None
    _current = Group(rank, world)
    try:
        yield _current
    finally:
        _current = ALONE
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _stay_on_this_machine() -> None:
    """Have gloo and NCCL listen on the loopback alone, unless somebody has chosen an interface."""
    names = [name for _, name in socket.if_nameindex()] if hasattr(socket, "if_nameindex") else []
    loopback = next((name for name in names if name in ("lo", "lo0")), None)
    if loopback:
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, loopback)


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(LOST) from error
