"""Vectors on disk: one flat memory-mapped array, the ids of its rows, and what made it.

A store is a folder: ``data.npy`` (n x D, C order), ``index.csv`` (id, content
hash) and ``meta.json`` (settings, dtype, complete); or an index of shards, see `embcomp.storage.shards`. Writing goes on in a hidden
``.NAME.partial`` folder beside it, remembers which rows are done, and takes the
store's name in one step at the end.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.errors import ArtifactError, DataError, StoreError
from embcomp.storage.arrays import PartialRows, RowFile, WriterLock, checked_rows, open_array
from embcomp.storage.bringing import brought
from embcomp.storage.files import (
    check_regular,
    fingerprint,
    read_json,
    recover,
)
from embcomp.storage.finishing import FORMAT, finish_store
from embcomp.storage.ownership import advice, kind_of, listing, refuse_foreign, strangers
from embcomp.storage.shards import PickedRows, ShardIndex, open_shards
from embcomp.storage.taught import FILE as TAUGHT

DTYPES = ("float32", "float16")
HELD = 256 << 20  # bytes of vectors that are read into memory at once
REMAINS = ("done.npy", "plan.json")  # of a store in writing
OWN_FILES = ("data.npy", "index.csv", "meta.json", TAUGHT, *REMAINS)


class EmbeddingStore:
    """A finished store, opened for reading.

    Attributes
    ----------
    path : Path
    data : ndarray of shape (n, dim), memory-mapped, read only
        Of a store in shards a `embcomp.storage.shards.ShardedRows`, which is read as one.
    ids : sequence of str
        One per row; of a store in shards they stay on disk.
    hashes : sequence of str
        Content hash of the clip behind each row.
    settings : dict
        What the rows were made with: teacher, audio settings, compressor. Where ``frames`` is k, a row
        holds k vectors one after the other, of equal shares of the clip's time.

    Examples
    --------
    >>> store = EmbeddingStore.open("embeddings")   # doctest: +SKIP
    >>> store.take(["a.wav", "b.wav"]).shape        # doctest: +SKIP
    (2, 1536)
    """

    _index: ShardIndex | None = None

    def __init__(
        self,
        path: Path,
        data: Any,
        ids: Sequence[str],
        hashes: Sequence[str],
        settings: dict[str, Any],
        index: ShardIndex | None = None,
    ):
        self.path, self._index = path, index
        self.data = data
        self.ids = ids
        self.hashes = hashes
        self.settings = settings
        self._row_of: dict[str, int] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike) -> EmbeddingStore:
        """Open a store folder, here or at a URL.

        Raises
        ------
        StoreError
            The folder is missing, unfinished, or its parts do not fit together.
        """
        path = brought(path)
        if not path.is_dir():
            problem = "that is a file" if path.exists() else "the folder does not exist; make it with `embcomp embed`"
            raise StoreError(f"no store at {path}: {problem}")
        try:
            meta = read_json(path / "meta.json")
            if isinstance(meta, dict) and "shards" in meta:
                return cls._sharded(path, meta)
            data = open_array(path / "data.npy")
            check_regular(path / "index.csv")
            ids, hashes = _index_of(path)
        except StoreError:
            raise
        except (OSError, ValueError, csv.Error) as error:  # an ArtifactError is a ValueError
            raise StoreError(f"{path} is not a whole store ({error}); {_mend(path)}") from error
        if not isinstance(meta, dict) or not meta.get("complete") or meta.get("format") != FORMAT:
            raise StoreError(f"{path}/meta.json does not describe a finished store of format {FORMAT}")
        if data.ndim != 2 or str(data.dtype) not in DTYPES or len(data) != len(ids):
            raise StoreError(
                f"{path}: data.npy is {data.shape} {data.dtype}, index.csv names {len(ids)} rows; {_mend(path)}"
            )
        if len(set(ids)) != len(ids) or not isinstance(meta.get("settings"), dict):
            raise StoreError(f"{path} names a clip twice or has no settings; {_mend(path)}")
        _check_frames(path, meta["settings"], data.shape[1])
        return cls(path, data, ids, hashes, meta["settings"])

    @classmethod
    def _sharded(cls, path: Path, meta: dict[str, Any]) -> EmbeddingStore:
        data, ids, hashes, index = open_shards(path, meta)
        if str(data.dtype) not in DTYPES or not isinstance(meta.get("settings"), dict):
            raise StoreError(f"{path} has rows of {data.dtype}, or no settings; join its stores again")
        _check_frames(path, meta["settings"], data.shape[1])
        return cls(path, data, ids, hashes, meta["settings"], index)

    def __len__(self) -> int:
        return len(self.ids)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.data if self.frames == 1 else self.take(self.ids), dtype=dtype)

    @property
    def frames(self) -> int:
        """Vectors in a row."""
        return int(self.settings.get("frames", 1))

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.data.shape[1] // self.frames

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """Row numbers of `ids`, shape (len(ids),).

        Raises
        ------
        StoreError
            Some ids are not in the store; the first of them are named.
        """
        if ids is self.ids:
            return np.arange(len(self))
        if self._index is not None:
            ids = list(ids)
            found = self._index.find(ids)
            self._refuse_missing([ids[number] for number in np.flatnonzero(found < 0)], len(ids))
            return found
        if self._row_of is None:
            self._row_of = {clip: row for row, clip in enumerate(self.ids)}
        ids = list(ids)
        self._refuse_missing([clip for clip in ids if clip not in self._row_of], len(ids))
        return np.fromiter((self._row_of[clip] for clip in ids), dtype=np.int64, count=len(ids))

    def _refuse_missing(self, missing: list[str], count: int) -> None:
        if missing:
            raise StoreError(
                f"{self.path} lacks {len(missing)} of {count} clips, {missing[0]!r} first; embed them first"
            )

    def take(self, ids: Iterable[str], over_time: bool = False) -> np.ndarray:
        """Vectors of `ids` in that order, float32 of shape (len(ids), dim).

        Of several vectors in a row their mean; with `over_time` all of them, (len(ids), frames, dim).
        """
        rows = np.asarray(self.data[self.rows(ids)], dtype=np.float32)
        if self.frames == 1 and not over_time:
            return rows
        vectors = rows.reshape(len(rows), self.frames, self.dim)
        return vectors if over_time else vectors.mean(1)

    def vectors(self, ids: Iterable[str]) -> Any:
        """Vectors of `ids` in that order, shape (len(ids), dim), for what reads them block by block.

        Of all rows, or of many, what is returned stays on disk, and is of the store's type.
        """
        if self.frames > 1 or str(self.data.dtype) not in DTYPES:
            return self.take(ids)
        if ids is self.ids:
            return self.data
        rows = self.rows(ids)
        if np.array_equal(rows, np.arange(len(self))):
            return self.data
        many = len(rows) * self.dim * 4 > HELD
        return PickedRows(self.data, rows) if many else np.asarray(self.data[rows], dtype=np.float32)

    def reader(self, ids: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
        """A function from numbers among `ids`, int64 (k,), to their rows, float32 (k, width), read from disk each time.

        Raises
        ------
        StoreError
            Some ids are not in the store.
        """
        rows = self.rows(ids)
        file = self.data if self._index is not None else RowFile(self.path / "data.npy")
        return lambda numbers: file.take(rows[numbers]).astype(np.float32, copy=False)


def _index_of(path: Path) -> tuple[list[str], list[str]]:
    """Ids and hashes of a store's rows; row by row, as a list of all cells would take twice their memory."""
    ids, hashes = [], []
    with open(path / "index.csv", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        whole = next(rows, None) == ["id", "hash"]
        for row in rows:
            if len(row) != 2:
                whole = False
                break
            ids.append(row[0])
            hashes.append(row[1])
    if not whole:
        raise StoreError(f"{path}/index.csv must have the columns id,hash")
    return ids, hashes


def _check_frames(path: Path, settings: Mapping[str, Any], width: int) -> None:
    frames = settings.get("frames", 1)
    if type(frames) is not int or frames < 1 or width % frames:
        raise StoreError(f"{path}: rows of {width} values do not hold {frames!r} vectors; make it again")


def check_settings(path: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a store made with other settings, naming each difference."""
    differing = sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))
    if differing:
        listing = "; ".join(f"{key}: there {found.get(key)!r}, asked {asked.get(key)!r}" for key in differing)
        mend = advice(path, "store", OWN_FILES)
        raise StoreError(f"{path} was made with other settings ({listing}); {mend}")


def write_store(
    path: str | os.PathLike,
    ids: Sequence[str],
    hashes: Sequence[str],
    dim: int,
    settings: Mapping[str, Any],
    produce: Callable[[np.ndarray], np.ndarray],
    *,
    batch_size: int = 64,
    dtype: str = "float32",
    progress: Callable[[int], None] | None = None,
    reuse: str | os.PathLike | None = None,
    spread: Callable[[list[np.ndarray]], Iterable[tuple[np.ndarray, np.ndarray]]] | None = None,
) -> EmbeddingStore:
    """Fill a store batch by batch, going on where an interrupted call stopped.

    A finished store with the same settings, ids and hashes is returned
    unchanged. If only some clips changed, the rows of the others are copied.

    Parameters
    ----------
    ids, hashes : sequences of str
        Unique ids of the rows to make, and the hash of each row's source.
    dim : int
    settings : mapping
        JSON-able; a store at `path` made with others is refused.
    produce : callable
        Given row numbers, an int64 array (k,), returns their vectors (k, dim).
    progress : callable, optional
        Called with the number of rows just finished.
    reuse : path, optional
        A folder of stores: rows of the same id, hash and settings are copied from there.
    spread : callable, optional
        Instead of `produce`: given the batches of row numbers that are still to be made, yields rows of whole batches
        with their vectors, in any order.

    Raises
    ------
    StoreError
        Another store, or something else, is at `path`, another process is writing it, or the disk is full. Rows that
        are finished stay for the next call.
    DataError
        `produce` returned a wrong shape, NaN or infinity.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    progress = progress or (lambda count: None)
    if len(set(ids)) != len(ids):
        raise DataError("ids of a store must be unique")
    settings = json.loads(json.dumps(dict(settings)))  # as reading it back gives it: tuples are lists
    made_with = {**settings, "dim": dim, "dtype": dtype}
    partial = path.with_name(f".{path.name}.partial")
    before = _existing(path, made_with)
    if before is not None and before.ids == list(ids) and before.hashes == list(hashes):
        tidy(path)
        progress(len(ids))
        return before
    with WriterLock(path):
        recover(path)
        before = _existing(path, made_with)  # another writer may have ended in between
        plan = {
            "format": FORMAT,
            "settings": settings,
            "dtype": dtype,
            "dim": dim,
            "rows": len(ids),
            "clips": fingerprint([list(ids), list(hashes)]),
        }
        if partial.is_dir() and (others := strangers(partial, OWN_FILES)):
            raise StoreError(f"{partial} holds {listing(others)}, not a store in writing; choose another --out")
        with PartialRows(partial, plan) as rows_there:
            for source in _sources(before, path, reuse, made_with):
                _copy_rows(source, rows_there, ids, hashes)
            progress(int(rows_there.done.sum()))
            todo = np.flatnonzero(rows_there.done == 0)
            batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
            made = spread(batches) if spread and batches else ((rows, produce(rows)) for rows in batches)
            for rows, values in made:
                rows_there.write(rows, checked_rows(values, rows, dim, dtype, ids))
                progress(len(rows))
        _existing(path, made_with)  # hours later something else may be there
        finish_store(partial, path, plan, ids, hashes, REMAINS)
    return EmbeddingStore.open(path)


def _existing(path: Path, made_with: Mapping[str, Any]) -> EmbeddingStore | None:
    """The finished store at `path`, which must have been made the same way."""
    if not path.exists() or (path.is_dir() and not strangers(path)):
        return None
    try:
        refuse_foreign(path, "store")
    except ArtifactError as error:
        raise StoreError(str(error)) from None
    found = EmbeddingStore.open(path)
    if others := strangers(path, OWN_FILES):
        raise StoreError(f"{path} holds {listing(others)} beside the store; move them, or choose another --out")
    check_settings(path, _made_with(found), made_with)
    return found


def _mend(path: Path) -> str:
    """What to do about a folder that is no whole store."""
    if kind_of(path) != "store":
        return "it is no store of embcomp: choose another"
    others = strangers(path, OWN_FILES)
    return f"it also holds {listing(others)}: make it again elsewhere" if others else "delete it and make it again"


def tidy(path: Path) -> None:
    """Clear away what a writer left that was killed when its store already had its name."""
    lock = WriterLock(path)
    if lock.file.exists() or any((path / name).exists() for name in REMAINS):
        # Another process that holds the lock tidies up itself.
        with contextlib.suppress(StoreError, OSError), lock:
            recover(path)
            for name in REMAINS:
                (path / name).unlink(missing_ok=True)


def _made_with(store: EmbeddingStore) -> dict[str, Any]:
    return {**store.settings, "dim": store.data.shape[1], "dtype": str(store.data.dtype)}


def _sources(
    before: EmbeddingStore | None, path: Path, reuse: str | os.PathLike | None, made_with: Mapping[str, Any]
) -> Iterator[EmbeddingStore]:
    if before is not None:
        yield before
    others = sorted(Path(reuse).iterdir()) if reuse is not None and Path(reuse).is_dir() else []
    for other in others:
        if other == path or other.name.startswith(".") or not (other / "meta.json").is_file():
            continue
        try:
            found = EmbeddingStore.open(other)
        except StoreError:
            continue  # whoever needs that store says what is wrong with it
        if _made_with(found) == made_with:
            yield found


def _copy_rows(before: EmbeddingStore, target: PartialRows, ids: Sequence[str], hashes: Sequence[str]) -> None:
    old = {(clip, key): row for row, (clip, key) in enumerate(zip(before.ids, before.hashes))}
    pairs = [(new, old[key]) for new, key in enumerate(zip(ids, hashes)) if key in old and not target.done[new]]
    for start in range(0, len(pairs), 4096):
        new_rows, old_rows = (np.array(rows) for rows in zip(*pairs[start : start + 4096]))
        target.write(new_rows, before.data[old_rows])
