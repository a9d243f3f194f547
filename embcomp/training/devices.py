"""Which device a student can be trained on, and by how many processes."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from embcomp.compression.apply import multiplies_bfloat16
from embcomp.distributed import Group
from embcomp.errors import ConfigError, EmbcompWarning


def check_device(name: str) -> str:
    """Return `name` if students can be trained on that device.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:NUMBER`` or ``mps``, the GPU of a Mac.

    Raises
    ------
    ConfigError
        There is no such device on this machine.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no such device {name!r}; use cpu, cuda, cuda:NUMBER or mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"students do not train on {name!r}; use cpu, cuda, cuda:NUMBER or mps")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is usable here; use cpu, or install a CUDA build of torch")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"there is no {name} here: {torch.cuda.device_count()} CUDA devices, counted from cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no GPU of a Mac is usable here (mps); use cpu")
    return name


def warn_of_bfloat16(amp: bool, device: str) -> None:
    """Warn of ``training.amp`` on a processor without instructions for bfloat16, where torch widens every number by itself.

    A step took 1.6 (`bc_resnet`) to 13 times (`cp_resnet`) as long there as in float32; of `ds_cnn` alone, by its kernels, it did not.

    Parameters
    ----------
    amp : bool
        Whether the setting is on.
    device : str
        Which `check_device` has taken.

    Warns
    -----
    EmbcompWarning
    """
    if amp and device == "cpu" and not multiplies_bfloat16():
        warnings.warn(
            "training.amp: this processor has no instructions for bfloat16, and all students but ds_cnn train several "
            "times slower with it; set training.amp = false here",
            EmbcompWarning,
            stacklevel=2,
        )


def moved(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A tensor on a device; to a CUDA device by way of pinned memory, beside what is computed there."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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
