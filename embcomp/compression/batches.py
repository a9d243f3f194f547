"""Shuffled mini-batches from rows in memory or on disk, through one reused buffer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embcomp.compression.rows import Rows, as_rows

FAR = 2 << 30  # bytes of rows in memory, beyond which they are read in stretches
STRETCH, WINDOW = 32 << 10, 128 << 20  # bytes


class Gatherer:
    """Collects rows by index into a buffer that every call overwrites.

    A flat memory map and a row copy per index is the fastest shuffled read we
    measured; allocating a batch anew would cost as much again as the copy.

    Parameters
    ----------
    X : (n, dim) array, tensor, memory map, store or Concatenation
    capacity : int
        Most rows asked for at once.

    Examples
    --------
    >>> Gatherer(np.zeros((10, 3)), 4)(np.array([7, 1])).shape
    torch.Size([2, 3])
    """

    def __init__(self, X: Any, capacity: int):
        rows = as_rows(X)
        self.parts = rows.parts
        self.buffer = torch.empty(capacity, rows.shape[1], dtype=torch.float32)
        # Rows of another type are gathered as they are and widened while still in cache.
        self.raw = [self._raw(part, capacity) for part in self.parts]

    def _raw(self, part: np.ndarray | Tensor, capacity: int) -> np.ndarray | None:
        if isinstance(part, Tensor) or (part.dtype == np.float32 and len(self.parts) == 1):
            return None
        return np.empty((capacity, part.shape[1]), part.dtype)

    def __call__(self, index: np.ndarray) -> Tensor:
        """Rows `index`, int64 ``(k,)``, as float32 ``(k, dim)``: a view, valid until the next call."""
        batch = self.buffer[: len(index)]
        out, left = batch.numpy(), 0
        for part, raw in zip(self.parts, self.raw, strict=True):
            right = left + part.shape[1]
            if isinstance(part, Tensor):
                batch[:, left:right] = part[torch.from_numpy(index)]
            elif raw is None:
                # "clip" spares numpy a safety copy; the indices are checked by whoever made them.
                np.take(part, index, axis=0, out=out, mode="clip")
            else:
                out[:, left:right] = np.take(part, index, axis=0, out=raw[: len(index)], mode="clip")
            left = right
        return batch


def minibatches(
    X: Any, batch_size: int, generator: torch.Generator, among: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield ``(index, batch)`` over rows once, shuffled.

    Rows of more than `FAR` bytes are not drawn one by one from everywhere, which a disk is slow at: short stretches of
    neighbours are read in random order, many of them into a window, and the rows of a window are shuffled.

    Parameters
    ----------
    X : (n, dim) array, tensor, memory map, store or Concatenation
    batch_size : int
        Rows per batch; the last may be shorter.
    generator : torch.Generator
        Decides the order.
    among : ndarray of int64, optional
        Rows to take; all by default.

    Yields
    ------
    index : ndarray of shape (k,), int64
    batch : Tensor of shape (k, dim), float32
        Overwritten by the next one; clone it to keep it.
    """
    rows = as_rows(X)
    among = np.arange(len(rows)) if among is None else among
    if 4 * len(among) * rows.shape[1] > FAR:
        yield from _windows(rows, batch_size, generator, among)
        return
    order = among[torch.randperm(len(among), generator=generator).numpy()]
    gather = Gatherer(rows, min(batch_size, len(order)))
    for start in range(0, len(order), batch_size):
        index = order[start : start + batch_size]
        yield index, gather(index)


def _windows(
    rows: Rows, batch_size: int, generator: torch.Generator, among: np.ndarray
) -> Iterator[tuple[np.ndarray, Tensor]]:
    width = rows.shape[1]
    buffer = torch.empty(batch_size, width)
    gather = None
    for index in shuffled_stretches(len(among), 4 * width, batch_size, generator):
        gather = gather or Gatherer(rows, len(index))  # the first window is the longest
        numbers = among[index]
        window = gather(numbers)
        order = torch.randperm(len(index), generator=generator)
        for part in torch.split(order, batch_size):
            torch.index_select(window, 0, part, out=buffer[: len(part)])
            yield numbers[part.numpy()], buffer[: len(part)]


def shuffled_stretches(count: int, row_bytes: int, batch_size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Numbers below `count`, each once, in windows: stretches of neighbours from all over.

    Parameters
    ----------
    count : int
    row_bytes : int
        Of a row in memory.
    batch_size : int
        A window has a multiple of it, so that only the last batch of all is shorter.
    generator : torch.Generator

    Yields
    ------
    ndarray of shape (k,), int64
        Not yet shuffled within.
    """
    stretch = max(1, STRETCH // row_bytes)
    size = max(1, WINDOW // row_bytes // batch_size) * batch_size
    waiting: list[np.ndarray] = []
    held = 0
    for number in torch.randperm(-(-count // stretch), generator=generator).tolist():
        waiting.append(np.arange(number * stretch, min(count, (number + 1) * stretch)))
        held += len(waiting[-1])
        while held >= size:
            left = np.concatenate(waiting)
            yield left[:size]
            waiting, held = [left[size:]], held - size
    if held:
        yield np.concatenate(waiting)
