"""Which device a student can be trained on, and by how many processes."""

from __future__ import annotations

import torch

from embcomp.distributed import Group
from embcomp.errors import ConfigError


def check_device(name: str) -> str:
    """Return `name` if students can be trained on that device.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda`` or ``cuda:NUMBER``.

    Raises
    ------
    ConfigError
        There is no such device on this machine.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no such device {name!r}; use cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is usable here; use cpu, or install a CUDA build of torch")
    return name


def check_processes(asked: int, group: Group) -> None:
    """Refuse ``training.processes`` that have not been started.

    Parameters
    ----------
    asked : int
        What the setting says; 1 takes as many as there are.
    group : Group
        The processes there are.

    Raises
    ------
    ConfigError
        There are others, or this one is alone.
    """
    if asked not in (1, group.world):
        raise ConfigError(
            f"training.processes is {asked}, and {group.world} of them run; `embcomp distill --processes {asked}` starts "
            f"them, as does torchrun --nproc-per-node {asked} -m embcomp distill"
        )
