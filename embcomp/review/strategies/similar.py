"""Clips that sound like given ones, to the student."""

from __future__ import annotations

import numpy as np

from embcomp.review.pool import Pool
from embcomp.review.strategies.base import Strategy


class Similar(Strategy):
    """Cosine between the student's embeddings of a clip and of the nearest of the examples (``--like``), in [-1, 1]."""

    name = "similar"
    summary = "clips like given ones (--like), by the cosine of the student's embeddings"
    uses_like = True

    def scores(self, pool: Pool) -> np.ndarray:
        return self._cosines(pool).max(axis=1)

    def why(self, pool: Pool, row: int, score: float) -> str:
        nearest = int(self._cosines(pool, slice(row, row + 1))[0].argmax())
        return f"cosine {score:.3f} to {pool.like_names[nearest]}"

    def _cosines(self, pool: Pool, rows: slice = slice(None)) -> np.ndarray:
        return _unit(pool.embeddings[rows]) @ _unit(pool.like).T


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; one of zeros stays."""
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
