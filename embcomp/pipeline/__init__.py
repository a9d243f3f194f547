"""A whole run: variants compared over folds and seeds, every common stage made once."""

from embcomp.pipeline.runner import RunResult, run

__all__ = ["RunResult", "run"]
