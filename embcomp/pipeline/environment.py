"""Versions and machine that a run was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from embcomp import __version__

if TYPE_CHECKING:
    from embcomp.config import RunConfig

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "soundfile", "soxr", "safetensors")


def versions() -> dict[str, Any]:
    """Python, machine, and the versions of the packages that results depend on; none of these is imported."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {"embcomp": __version__, **{name: _installed(name) for name in PACKAGES}},
    }


def environment(config: RunConfig) -> dict[str, Any]:
    """Versions, machine and what says how to run, kept with every run."""
    return {**versions(), "device": config.device, "threads": config.threads, "seeds": list(config.seeds)}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
