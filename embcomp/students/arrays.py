"""Rows of tables and images as tensors for students: from a file, or from the store of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embcomp.data.inputs import InputRows, InputSpec
from embcomp.storage.store import EmbeddingStore, write_store

Reader = Callable[[np.ndarray], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ArrayFeatures:
    """Inputs kept in a store, as `embcomp.audio.features.Features` keeps log-mels.

    Attributes
    ----------
    store : EmbeddingStore
        A row is an input, its numbers one after the other.
    """

    store: EmbeddingStore

    @property
    def spec(self) -> InputSpec:
        """What an input is."""
        return InputSpec.of(self.store.settings["inputs"])

    @property
    def width(self) -> int:
        """Numbers that an input has."""
        return self.spec.width

    def load(self, ids: list[str]) -> tuple[Tensor, Tensor]:
        """Inputs of `ids` (n, *shape), and the length of their last axis, the same for all, (n,)."""
        return as_tensors(self.store.take(ids).reshape(len(ids), *self.spec.shape))

    def reader(self, ids: Sequence[str]) -> Reader:
        """A function from numbers among `ids`, int64 (k,), to what `load` gives of them, read from disk each time."""
        read, shape = self.store.reader(ids), self.spec.shape
        return lambda numbers: as_tensors(read(numbers).reshape(len(numbers), *shape))


@dataclass(frozen=True)
class FileFeatures:
    """Inputs straight from a file.

    Attributes
    ----------
    rows : InputRows
    """

    rows: InputRows

    @property
    def spec(self) -> InputSpec:
        """What an input is."""
        return self.rows.spec

    @property
    def width(self) -> int:
        """Numbers that an input has."""
        return self.spec.width

    def load(self, ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """As of `ArrayFeatures`."""
        return as_tensors(self.rows.take(ids))

    def reader(self, ids: Sequence[str]) -> Reader:
        """As of `ArrayFeatures`, of what the file was read into."""
        return lambda numbers: self.load([ids[number] for number in numbers])


def as_tensors(values: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs (n, *shape) and lengths (n,) as students take them."""
    return torch.from_numpy(np.ascontiguousarray(values)), torch.full((len(values),), values.shape[-1])


def store_inputs(rows: InputRows, ids: list[str], keys: list[str], path: str | os.PathLike) -> ArrayFeatures:
    """Write the inputs of `ids` to a store, or open the one that is there.

    Raises
    ------
    StoreError
        Inputs of another kind are at `path`.
    """

    def produce(numbers: np.ndarray) -> np.ndarray:
        return rows.take([ids[number] for number in numbers]).reshape(len(numbers), rows.spec.width)

    return ArrayFeatures(
        write_store(path, ids, keys, rows.spec.width, {"inputs": rows.spec.settings()}, produce, batch_size=1024)
    )
