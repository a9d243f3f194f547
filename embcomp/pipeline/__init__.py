"""A whole run: variants compared over folds and seeds, every common stage made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcomp.pipeline.runner import RunResult as RunResult
    from embcomp.pipeline.runner import run as run

__all__ = ["RunResult", "run"]


def __getattr__(name: str) -> Any:
    # A finished run is answered from `embcomp.pipeline.finished`, without what a run needs.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from embcomp.pipeline import runner

    return getattr(runner, name)
