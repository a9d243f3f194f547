"""Vectors on disk: one flat memory-mapped array, the ids of its rows, and what made it.

A store is a folder: ``data.npy`` (n x D, C order), ``index.csv`` (id, content
hash) and ``meta.json`` (settings, dtype, complete). Writing goes on in a hidden
``.NAME.partial`` folder beside it, remembers which rows are done, and takes the
store's name in one step at the end.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from embcomp.errors import ArtifactError, DataError, EmbcompError, StoreError
from embcomp.files import read_json, replace_folder, sync, write_json, write_text

FORMAT = 1
DTYPES = ("float32", "float16")


class EmbeddingStore:
    """A finished store, opened for reading.

    Attributes
    ----------
    path : Path
    data : ndarray of shape (n, dim), memory-mapped, read only
    ids : list of str
        One per row.
    hashes : list of str
        Content hash of the clip behind each row.
    settings : dict
        What the rows were made with: teacher, audio settings, compressor.

    Examples
    --------
    >>> store = EmbeddingStore.open("embeddings")   # doctest: +SKIP
    >>> store.take(["a.wav", "b.wav"]).shape        # doctest: +SKIP
    (2, 1536)
    """

    def __init__(self, path: Path, data: np.ndarray, ids: list[str], hashes: list[str], settings: dict[str, Any]):
        self.path = path
        self.data = data
        self.ids = ids
        self.hashes = hashes
        self.settings = settings
        self._row_of: dict[str, int] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike) -> EmbeddingStore:
        """Open a store folder.

        Raises
        ------
        StoreError
            The folder is missing, unfinished, or its parts do not fit together.
        """
        path = Path(path)
        if not path.is_dir():
            problem = "that is a file" if path.exists() else "the folder does not exist; make it with `embcomp embed`"
            raise StoreError(f"no store at {path}: {problem}")
        try:
            meta = read_json(path / "meta.json")
            data = np.lib.format.open_memmap(path / "data.npy", mode="r")
            with open(path / "index.csv", encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
        except (ArtifactError, OSError, ValueError, csv.Error, SyntaxError, TokenError) as error:
            raise StoreError(f"{path} is not a whole store ({error}); delete it and make it again") from error
        if not isinstance(meta, dict) or not meta.get("complete") or meta.get("format") != FORMAT:
            raise StoreError(f"{path}/meta.json does not describe a finished store of format {FORMAT}")
        if rows[:1] != [["id", "hash"]] or any(len(row) != 2 for row in rows):
            raise StoreError(f"{path}/index.csv must have the columns id,hash")
        if data.ndim != 2 or str(data.dtype) not in DTYPES or len(data) != len(rows) - 1:
            raise StoreError(
                f"{path}: data.npy is {data.shape} {data.dtype}, index.csv names {len(rows) - 1} rows; "
                "delete the store and make it again"
            )
        ids, hashes = [row[0] for row in rows[1:]], [row[1] for row in rows[1:]]
        if len(set(ids)) != len(ids) or not isinstance(meta.get("settings"), dict):
            raise StoreError(f"{path} names a clip twice or has no settings; delete the store and make it again")
        return cls(path, data, ids, hashes, meta["settings"])

    def __len__(self) -> int:
        return len(self.ids)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.data, dtype=dtype)

    @property
    def dim(self) -> int:
        """Width of a row."""
        return self.data.shape[1]

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """Row numbers of `ids`, shape (len(ids),).

        Raises
        ------
        StoreError
            Some ids are not in the store; the first of them are named.
        """
        if self._row_of is None:
            self._row_of = {clip: row for row, clip in enumerate(self.ids)}
        ids = list(ids)
        missing = [clip for clip in ids if clip not in self._row_of]
        if missing:
            raise StoreError(
                f"{self.path} lacks {len(missing)} of {len(ids)} clips, {missing[0]!r} first; embed them first"
            )
        return np.fromiter((self._row_of[clip] for clip in ids), dtype=np.int64, count=len(ids))

    def take(self, ids: Iterable[str]) -> np.ndarray:
        """Rows of `ids` in that order, float32 of shape (len(ids), dim)."""
        return np.asarray(self.data[self.rows(ids)], dtype=np.float32)


def check_settings(path: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a store made with other settings, naming each difference."""
    differing = sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))
    if differing:
        listing = "; ".join(f"{key}: there {found.get(key)!r}, asked {asked.get(key)!r}" for key in differing)
        raise StoreError(f"{path} was made with other settings ({listing}). Delete it or choose another --out")


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
) -> EmbeddingStore:
    """Fill a store batch by batch, going on where an interrupted call stopped.

    A finished store with the same settings, ids and hashes is returned as it
    stands. If only some clips changed, the rows of the others are copied.

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

    Raises
    ------
    StoreError
        Another store stands at `path`, or another process is writing it.
    DataError
        `produce` returned a wrong shape, NaN or infinity.
    """
    path = Path(path)
    progress = progress or (lambda count: None)
    if len(set(ids)) != len(ids):
        raise DataError("ids of a store must be unique")
    settings = json.loads(json.dumps(dict(settings)))  # as reading it back gives it: tuples are lists
    before = None
    if path.exists():
        before = EmbeddingStore.open(path)
        there = {**before.settings, "dim": before.dim, "dtype": str(before.data.dtype)}
        check_settings(path, there, {**settings, "dim": dim, "dtype": dtype})
        if before.ids == list(ids) and before.hashes == list(hashes):
            progress(len(ids))
            return before
    partial = path.with_name(f".{path.name}.partial")
    with _Lock(path):
        plan = {
            "format": FORMAT,
            "settings": settings,
            "dtype": dtype,
            "dim": dim,
            "ids": list(ids),
            "hashes": list(hashes),
        }
        data, done = _open_partial(partial, plan)
        if before is not None:
            _copy_rows(before, data, done, ids, hashes)
        progress(int(done.sum()))
        todo = np.flatnonzero(done == 0)
        for start in range(0, len(todo), batch_size):
            rows = todo[start : start + batch_size]
            values = np.asarray(produce(rows))
            if values.shape != (len(rows), dim):
                raise DataError(f"expected vectors of shape {(len(rows), dim)}, got {values.shape}")
            with np.errstate(over="ignore"):
                values = values.astype(dtype)
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                named = ids[rows[np.flatnonzero(bad)[0]]]
                raise DataError(f"{bad.sum()} vectors are NaN or infinite (in {dtype}), that of {named!r} first")
            data[rows] = values
            # The data must be there before the flag that says so.
            data.flush()
            done[rows] = 1
            done.flush()
            progress(len(rows))
        _finish(partial, path, data, done, plan)
    return EmbeddingStore.open(path)


def _open_partial(partial: Path, plan: dict) -> tuple[np.memmap, np.memmap]:
    try:
        if read_json(partial / "plan.json") == plan:
            return (
                np.lib.format.open_memmap(partial / "data.npy", mode="r+"),
                np.lib.format.open_memmap(partial / "done.npy", mode="r+"),
            )
    except (ArtifactError, OSError, ValueError):
        pass  # nothing usable from an earlier try: start afresh
    shutil.rmtree(partial, ignore_errors=True)
    count = len(plan["ids"])
    try:
        partial.mkdir(parents=True)
        data = np.lib.format.open_memmap(
            partial / "data.npy", mode="w+", dtype=plan["dtype"], shape=(count, plan["dim"])
        )
        done = np.lib.format.open_memmap(partial / "done.npy", mode="w+", dtype=np.uint8, shape=(count,))
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EmbcompError(f"cannot write a store beside {partial.parent}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"cannot make a store of {count} rows of {plan['dim']} values: {error}") from error
    write_json(partial / "plan.json", plan)
    return data, done


def _copy_rows(
    before: EmbeddingStore, data: np.ndarray, done: np.ndarray, ids: Sequence[str], hashes: Sequence[str]
) -> None:
    old = {(clip, key): row for row, (clip, key) in enumerate(zip(before.ids, before.hashes))}
    pairs = [(new, old[key]) for new, key in enumerate(zip(ids, hashes)) if key in old and not done[new]]
    if pairs:
        new_rows, old_rows = map(list, zip(*pairs))
        data[new_rows] = before.data[old_rows]
        data.flush()
        done[new_rows] = 1


def _finish(partial: Path, path: Path, data: np.memmap, done: np.memmap, plan: dict) -> None:
    data.flush()
    lines = ["id,hash"] + [f"{_quoted(clip)},{key}" for clip, key in zip(plan["ids"], plan["hashes"])]
    write_text(partial / "index.csv", "\n".join(lines) + "\n")
    write_json(
        partial / "meta.json",
        {
            "format": FORMAT,
            "complete": True,
            "dtype": plan["dtype"],
            "rows": len(plan["ids"]),
            "dim": plan["dim"],
            "settings": plan["settings"],
        },
    )
    sync(partial / "data.npy")
    for leftover in ("done.npy", "plan.json"):
        (partial / leftover).unlink()
    replace_folder(partial, path)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


class _Lock:
    """One writer at a time: an advisory lock that the system drops when its holder dies."""

    def __init__(self, path: Path):
        self.path = path
        self.file = path.with_name(f".{path.name}.lock")

    def __enter__(self) -> _Lock:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.handle = open(self.file, "w")
        except OSError as error:
            raise StoreError(f"cannot write a store at {self.path}: {error.strerror or error}") from error
        try:
            import fcntl
        except ImportError:  # not on Windows: there the rename at the end still keeps the store whole
            return self
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder that ended in between took the file away, so that a third writer would lock another.
            if os.stat(self.file).st_ino != os.fstat(self.handle.fileno()).st_ino:
                raise BlockingIOError
        except OSError:
            self.handle.close()
            raise StoreError(f"another process is writing {self.path}; wait for it to end") from None
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.unlink(missing_ok=True)
        self.handle.close()
