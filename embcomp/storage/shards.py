"""A store in shards: an index, and for each shard its rows, their ids and hashes, all read from disk when asked for.

``meta.json`` names the shards in order. Each has a folder here with ``ids``, ``hashes`` and ``lookup.npy``; its rows
are in ``data.npy`` beside them, or stay in the store that they were made in.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.errors import StoreError, why
from embcomp.storage.arrays import RowFile, open_array
from embcomp.storage.files import read_json
from embcomp.storage.texts import JoinedTexts, Lookup, Texts, text_keys

FORMAT = 2
NAMES = ("ids.bin", "ids.npy", "hashes.bin", "hashes.npy", "lookup.npy")
MAPPED, OPENED = 2, 64  # shards whose rows are mapped, and whose files are open, at a time


class ShardedRows:
    """Rows of several files as one array ``(n, width)``: blocks are mapped, single rows read.

    Only a few shards are mapped at a time, so that a pass over all of them takes no more memory than these.

    Parameters
    ----------
    paths : sequence of Path
        ``.npy`` files of one width and type.
    counts : sequence of int
        Rows of each.
    width : int
    dtype : dtype

    Attributes
    ----------
    in_blocks : bool
        True: whoever takes an array takes this as it is, and reads it block by block.
    """

    in_blocks, ndim = True, 2

    def __init__(self, paths: Sequence[Path], counts: Sequence[int], width: int, dtype: Any):
        self.paths, self.dtype = list(paths), np.dtype(dtype)
        self.starts = np.cumsum([0, *counts])
        self.shape = (int(self.starts[-1]), width)
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        self._files: OrderedDict[int, RowFile] = OrderedDict()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Values in all."""
        return self.shape[0] * self.shape[1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        """A row, a slice of rows, or rows by number."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._block(start, max(start, stop))
            key = np.arange(start, stop, step)
        if isinstance(key, (int, np.integer)):
            return self.take(np.array([range(len(self))[int(key)]]))[0]
        key = np.asarray(key)
        return self.take(np.flatnonzero(key) if key.dtype == bool else np.where(key < 0, key + len(self), key))

    def _block(self, start: int, stop: int) -> np.ndarray:
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        pieces = []
        while start < stop:
            offset, end = int(self.starts[first]), min(stop, int(self.starts[first + 1]))
            if end > start:
                pieces.append(self._mapped(first)[start - offset : end - offset])
            start, first = end, first + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty((0, self.shape[1]), self.dtype)

    def take(self, indices: Any, axis: int = 0, out: np.ndarray | None = None, mode: str = "raise") -> np.ndarray:
        """Rows by number, as `numpy.take` along the first axis.

        Raises
        ------
        IndexError
            There is no such row.
        """
        if axis != 0:
            raise ValueError("rows are taken along the first axis")
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(f"rows {indices.min()} to {indices.max()} of {len(self)}")
        found = np.empty((len(indices), self.shape[1]), self.dtype) if out is None else out
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        for number in np.unique(owner).tolist():
            mine = owner == number
            found[mine] = self._opened(number).take(indices[mine] - self.starts[number])
        return found

    def _mapped(self, number: int) -> np.ndarray:
        return _recent(self._maps, number, MAPPED, lambda: open_array(self.paths[number]))

    def _opened(self, number: int) -> RowFile:
        return _recent(self._files, number, OPENED, lambda: RowFile(self.paths[number]))


def _recent(known: OrderedDict, key: int, limit: int, make: Callable[[], Any]) -> Any:
    """What is kept under `key`, made if need be; of more than `limit` the one not used for longest is dropped."""
    if key not in known:
        known[key] = make()
        if len(known) > limit:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]


class PickedRows:
    """Some rows of an array ``(n, width)`` in an order of their own, read when asked for.

    Parameters
    ----------
    data : ndarray or ShardedRows
    rows : ndarray of int64 (k,)
    """

    in_blocks, ndim = True, 2

    def __init__(self, data: Any, rows: np.ndarray):
        self.data, self.rows = data, rows
        self.shape, self.dtype = (len(rows), data.shape[1]), data.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.data[self.rows], dtype=dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.data[self.rows[key]]

    def take(self, indices: Any, axis: int = 0, out: np.ndarray | None = None, mode: str = "raise") -> np.ndarray:
        """As `ShardedRows.take`."""
        return np.take(self.data, self.rows[indices], axis=axis, out=out, mode=mode)


def place_of(data: Any) -> dict[str, Any] | None:
    """Where the rows of an array lie, in JSON, so that another process can map them; None where no file holds them as they are.

    Parameters
    ----------
    data : ndarray, memory map or ShardedRows
        Of shape (n, width).
    """
    if isinstance(data, ShardedRows):
        files, counts = data.paths, np.diff(data.starts).tolist()
    elif isinstance(data, np.memmap) and data.ndim == 2 and data.filename is not None:
        files, counts = [Path(data.filename)], [len(data)]
        about = open_array(files[0])
        if about.shape != data.shape or about.dtype != data.dtype or not data.flags.c_contiguous:
            return None
    else:
        return None
    return {
        "files": [str(file.absolute()) for file in files],
        "stamps": [[file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "counts": counts,
        "width": int(data.shape[1]),
        "dtype": str(data.dtype),
    }


def rows_at(place: Mapping[str, Any]) -> ShardedRows:
    """The rows that `place_of` described.

    Raises
    ------
    StoreError
        A file is not there, or was changed since.
    """
    for file, stamp in zip(place["files"], place["stamps"], strict=True):
        try:
            about = os.stat(file)
        except OSError as error:
            raise StoreError(
                f"cannot read {file} ({why(error)}); all machines must see the same files at the same place"
            ) from None
        if [about.st_size, about.st_mtime_ns] != stamp:
            raise StoreError(f"{file} was changed while it was read; run again")
    return ShardedRows([Path(file) for file in place["files"]], place["counts"], place["width"], place["dtype"])


class ShardIndex:
    """The ids of all shards, found without a dictionary of them.

    Parameters
    ----------
    lookups : sequence of Lookup
    starts : ndarray of int64
        Number of the first row of each shard.
    """

    def __init__(self, lookups: Sequence[Lookup], starts: np.ndarray):
        self.lookups, self.starts = lookups, starts

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """Row of each id, int64 (k,); -1 where there is none."""
        found, keys = np.full(len(ids), -1, dtype=np.int64), text_keys(ids)
        for lookup, start in zip(self.lookups, self.starts):
            left = np.flatnonzero(found < 0)
            if not len(left):
                break
            rows = lookup.find([ids[number] for number in left.tolist()], keys[left])
            found[left] = np.where(rows < 0, -1, rows + start)
        return found


def is_sharded(path: str | os.PathLike) -> bool:
    """Whether a folder is a store in shards."""
    try:
        meta = read_json(Path(path) / "meta.json")
    except (OSError, ValueError):
        return False
    return isinstance(meta, dict) and "shards" in meta


def open_shards(path: Path, meta: Mapping[str, Any]) -> tuple[ShardedRows, JoinedTexts, JoinedTexts, ShardIndex]:
    """Rows, ids and hashes of a store in shards, and what finds ids.

    Parameters
    ----------
    path : Path
        Its folder.
    meta : mapping
        What is in its ``meta.json``.

    Raises
    ------
    StoreError
        A shard is missing, or another than when the index was written.
    """
    try:
        if meta["format"] != FORMAT or not meta["complete"]:
            raise ValueError(f"it is no finished store of format {FORMAT}")
        width, dtype = int(meta["dim"]), str(meta["dtype"])
        shards = [(path / one["data"], path / one["names"], int(one["rows"])) for one in meta["shards"]]
        for data, _, rows in shards:
            about = open_array(data)
            if about.shape != (rows, width) or str(about.dtype) != dtype:
                raise ValueError(
                    f"the shard {data} is {about.shape} {about.dtype}, the index says {(rows, width)} {dtype}; "
                    "join the stores again with `embcomp store merge`"
                )
        ids, hashes = ([Texts(names / kind) for _, names, _ in shards] for kind in ("ids", "hashes"))
        counts = [rows for *_, rows in shards]
        if [len(one) for one in ids] != counts or [len(one) for one in hashes] != counts or sum(counts) != meta["rows"]:
            raise ValueError("its ids are not as many as its rows")
        lookups = [Lookup(names / "lookup.npy", part) for (_, names, _), part in zip(shards, ids)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} is no whole store in shards ({error})") from error
    rows_of = ShardedRows([data for data, *_ in shards], counts, width, dtype)
    return rows_of, JoinedTexts(ids), JoinedTexts(hashes), ShardIndex(lookups, rows_of.starts)
