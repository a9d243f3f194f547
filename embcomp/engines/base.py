"""What every engine does with a job: its name, its answer as JSON, and what is raised of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from embcomp import errors
from embcomp.errors import EmbcompError

RETRIES = 2  # more tries of a job whose worker was killed
PATIENCE = 900.0  # seconds that a worker may go without computing anything
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
NO_MEMORY = (
    "memory ran out in a worker process; finished work is kept: run again with fewer workers (workers = 1) to go on"
)


def name_of(function: Callable[..., Any]) -> str:
    """``module:function``, as workers look it up."""
    return f"{function.__module__}:{function.__qualname__}"


def answer(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a job: its ``result``, or the ``kind`` and words of its ``error``.

    Parameters
    ----------
    name : str
        ``module:function``.
    job : dict
        Keyword arguments.
    """
    module, _, function = name.partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), function)(**job)}
    except EmbcompError as error:
        return {"kind": type(error).__name__, "error": str(error)}
    except (MemoryError, RuntimeError) as error:
        # torch has no error of its own for memory of the processor; GPUs do.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        return {"kind": "EmbcompError", "error": NO_MEMORY}


def raise_error(given: dict[str, Any]) -> None:
    """Raise what an answer says went wrong, if anything did.

    Raises
    ------
    EmbcompError
        Of the kind that the job raised.
    """
    if "error" in given:
        raise getattr(errors, given["kind"], EmbcompError)(given["error"])


def died(how: str = "") -> EmbcompError:
    """The error for a worker that ended in the middle of a job; `how`, such as its exit code."""
    about = f" ({how})" if how else ""
    return EmbcompError(f"a worker process died{about}; memory may have run out. Run again to go on")


def hung(patience: float) -> EmbcompError:
    """The error for a worker that has computed nothing for `patience` seconds."""
    return EmbcompError(
        f"a worker process has done nothing for {patience:g} s, as where a drive does not answer; "
        "finished work is kept: see that the data can be read, and run again to go on"
    )
