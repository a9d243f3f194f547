"""Which device a student can be trained on."""

from __future__ import annotations

import torch

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
