"""Shuffled mini-batches from rows in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from embcomp.compression.rows import Rows


def shuffled(n: int, batch_size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Yield index arrays that cover ``0 .. n-1`` once, in an order drawn from `generator`."""
    order = torch.randperm(n, generator=generator).numpy()
    for start in range(0, n, batch_size):
        yield order[start : start + batch_size]


def gather(rows: Rows, index: np.ndarray) -> Tensor:
    """Rows by index as float32, shape ``(len(index), dim)``, a new tensor."""
    return torch.from_numpy(np.array(rows[index], dtype=np.float32, copy=None))
