"""Where independent jobs run: worker processes of this machine, or of a Ray cluster."""

from __future__ import annotations

import importlib
from typing import Any

from embcomp.errors import choose

# Every engine by name, as ``module:class``; a configuration takes these names.
ENGINES = {"local": "embcomp.engines.local:Engine", "ray": "embcomp.engines.ray:Engine"}


def open_engine(name: str, workers: int = 0, threads: int = 1, **options: Any) -> Any:
    """The engine of that name, to be used in a ``with`` block; see `embcomp.engines.local.Engine`.

    Parameters
    ----------
    name : str
        A key of `ENGINES`.
    workers : int
        Processes; 0 is one per free core, of a cluster one per core.
    threads : int, default=1
        Threads of each worker's numeric libraries.

    Raises
    ------
    ConfigError
        There is no such engine; the nearest is named. Or what it is set to by the environment makes no sense.
    MissingDependencyError
        Its package is not installed.
    """
    module, _, kind = choose("engine", name, ENGINES).partition(":")
    return getattr(importlib.import_module(module), kind)(workers, threads, **options)
