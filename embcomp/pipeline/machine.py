"""What a machine that a run is planned for has, and what an hour of it costs: a few keys of a TOML file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from embcomp.config.limits import setting
from embcomp.config.schema import read_keys
from embcomp.errors import ConfigError


@dataclass(frozen=True)
class Machine:
    """A machine, beside the one that the calibration runs on.

    Examples
    --------
    >>> Machine(price=1.5).price
    1.5
    """

    name: str = setting("this machine", "in the table")
    price: float = setting(0.0, "of an hour, in whatever currency", at_least=0)
    speed: float = setting(1.0, "of one core, this machine's being 1", at_least=0.001, at_most=10_000)
    cores: int = setting(0, "0 is as many as workers are asked for", at_least=0)
    memory_gb: float = setting(0.0, "GB of memory; 0 leaves it open", at_least=0)
    disk_gb: float = setting(0.0, "GB of disk; 0 leaves it open", at_least=0)


def read_machine(path: str | os.PathLike) -> Machine:
    """Read a machine from a TOML file with keys of `Machine`.

    Raises
    ------
    ConfigError
        It cannot be read, is no TOML, or has an unknown key or a value out of range.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe has no end
            raise OSError("not a regular file")
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return Machine(**read_keys(Machine, content, str(path), ""))
