"""Rows of embeddings, read block by block, whatever holds them.

Numpy arrays, torch tensors, memory maps and stores all become :class:`Rows`;
nothing is copied until a block is asked for. :class:`Concatenation` lays
several teachers side by side without building the wide matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array

from embcomp.compression.cells import rows_text
from embcomp.errors import DataError

BLOCK_BYTES = 16 << 20
SHOWN = 8


class Concatenation:
    """Several teachers' embeddings of the same clips, side by side.

    A compressor fitted on it gives every teacher the same share of the total
    variance, times its weight, and yields one target from all of them.

    Parameters
    ----------
    parts : sequence of (n, dim_i) arrays or stores
        One per teacher, the same clips in the same order.
    weights : sequence of float, optional
        Share of each teacher in the total variance, relative; all 1 by default.

    Raises
    ------
    DataError
        Row counts or ids differ, or a weight is not positive.

    Examples
    --------
    >>> Concatenation([np.zeros((5, 3)), np.zeros((5, 2))]).shape
    (5, 5)
    """

    ndim = 2

    def __init__(self, parts: Sequence[Any], weights: Sequence[float] | None = None):
        rows = [as_rows(part) for part in parts]
        if not rows:
            raise DataError("a concatenation needs at least one teacher")
        counts = [len(part) for part in rows]
        if len(set(counts)) > 1:
            raise DataError(f"teachers have different numbers of rows: {counts}; they must embed the same clips")
        named = [part.ids for part in rows if part.ids is not None]
        if any(list(ids) != list(named[0]) for ids in named[1:]):
            raise DataError("teachers hold different ids, or the same in another order; align the stores first")
        self.weights = [1.0] * len(rows) if weights is None else [float(weight) for weight in weights]
        if len(self.weights) != len(rows) or not all(0 < weight < np.inf for weight in self.weights):
            raise DataError(f"{len(rows)} teachers need as many positive weights, got {weights}")
        self.parts = [array for part in rows for array in part.parts]
        self.widths = [part.shape[1] for part in rows]
        self.ids = named[0] if named else None
        self.shape = (counts[0], sum(self.widths))

    def __len__(self) -> int:
        return self.shape[0]


class Rows:
    """A matrix of embeddings, shape ``(n, dim)``, that is read in blocks.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
        What blocks come as: float64 where the source is float64 or integer, else float32.
    ids : list of str or None
    widths, weights : list or None
        Of the teachers, where there are several.
    """

    def __init__(
        self,
        parts: list[Any],
        ids: Sequence[str] | None = None,
        widths: list[int] | None = None,
        weights: list[float] | None = None,
    ):
        self.parts = parts
        self.ids, self.widths, self.weights = ids, widths, weights
        self.shape = (int(parts[0].shape[0]), sum(int(part.shape[1]) for part in parts))
        self.dtype = np.result_type(np.float32, *[_computed_in(part) for part in parts])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        """Rows by slice or by an integer array, shape ``(k, dim)``, in :attr:`dtype`."""
        columns = [_to_numpy(part[_key_for(part, key)]) for part in self.parts]
        block = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        return np.asarray(block, dtype=self.dtype)

    def blocks(
        self, size: int | None = None, first: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(start, block)`` of the rows from `first` to `stop`; blocks hold `size` rows, by default about 16 MB."""
        size = size or block_rows(self.shape[1])
        stop = len(self) if stop is None else min(stop, len(self))
        for start in range(first, stop, size):
            yield start, self[start : min(start + size, stop)]


def block_rows(dim: int, limit: int = 4096) -> int:
    """Rows of width `dim` that fill a block of at most 16 MB of float32."""
    return int(np.clip(BLOCK_BYTES // (4 * max(dim, 1)), 16, limit))


def as_rows(X: Any) -> Rows:
    """View `X` as :class:`Rows`.

    Parameters
    ----------
    X : array-like of shape (n, dim), torch.Tensor, memory map, store or Concatenation
        A store is anything with ``data`` and ``ids``. An array with a true attribute ``in_blocks`` is taken as it is: it
        has ``shape`` and ``dtype``, gives rows by slice and by number, and has the method ``take`` of numpy's arrays.

    Raises
    ------
    ValueError
        Not a two-dimensional matrix of real numbers with at least one row and column.
    DataError
        Values are masked: the rows are named.
    """
    if isinstance(X, Rows):
        return X
    if isinstance(X, Concatenation):
        return Rows(X.parts, X.ids, X.widths, X.weights)
    # A masked array has both names for other things, and a data frame may have columns called so.
    if hasattr(X, "ids") and hasattr(X, "data") and not isinstance(X, np.ndarray) and not hasattr(X, "columns"):
        if getattr(X, "frames", 1) > 1:
            raise ValueError(
                f"the store holds {X.frames} vectors per clip; give their mean, store.take(ids), and the ids"
            )
        # Names of millions of rows stay on disk.
        return Rows([_matrix(X.data)], X.ids if getattr(X.ids, "in_blocks", False) else list(X.ids))
    return Rows([_matrix(X)])


def _matrix(X: Any) -> Any:
    if getattr(X, "in_blocks", False):  # rows in shards, read block by block
        return X
    if np.ma.isMaskedArray(X):
        bad = np.flatnonzero(np.ma.getmaskarray(X).reshape(len(X), -1).any(axis=1)) if X.ndim else np.arange(0)
        if len(bad):
            raise DataError(
                f"{len(bad)} of {len(X)} rows hold masked values: {rows_text(bad)}; leave them out, or fill them"
            )
        X = X.data
    if isinstance(X, torch.Tensor):
        if X.layout != torch.strided:
            raise DataError("the tensor is sparse; give X.to_dense()")
        X = X.detach().cpu()
        # numpy has no bfloat16, so such a tensor stays one and is widened block by block.
        if X.dtype == torch.bfloat16 and X.ndim == 2 and X.numel():
            return X
        X = X.float().numpy() if X.dtype == torch.bfloat16 else X.numpy()
    return check_array(X, dtype="numeric", ensure_all_finite=False, estimator="Compressor")


def _computed_in(part: np.ndarray | torch.Tensor) -> type:
    wide = not isinstance(part, torch.Tensor) and part.dtype not in (np.float16, np.float32)
    return np.float64 if wide else np.float32


def _key_for(part: np.ndarray | torch.Tensor, key: slice | np.ndarray) -> slice | np.ndarray | torch.Tensor:
    return torch.from_numpy(key) if isinstance(part, torch.Tensor) and isinstance(key, np.ndarray) else key


def _to_numpy(block: np.ndarray | torch.Tensor) -> np.ndarray:
    return block.float().numpy() if isinstance(block, torch.Tensor) else block


def raise_not_finite(rows: Rows) -> None:
    """Raise DataError naming the first rows that hold NaN or infinity.

    Called when a sum has come out wrong, so that clean data is never read twice.
    """
    bad: list[int] = []
    for start, block in rows.blocks():
        bad += (start + np.flatnonzero(~np.isfinite(block).all(axis=1))).tolist()
    if not bad:
        raise DataError("values are too large: their squares overflow; scale the embeddings down")
    names = [str(row) if rows.ids is None else f"{row} ({rows.ids[row]})" for row in bad[:SHOWN]]
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    raise DataError(f"{len(bad)} of {len(rows)} rows hold NaN or infinity (inf): rows {', '.join(names)}{more}")
