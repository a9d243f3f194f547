"""Vectors that somebody already has, in whatever file: .npy, .npz, .parquet, .csv, .h5, or a folder of .npy files."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import Any

import numpy as np

from embcomp.errors import MissingDependencyError, StoreError
from embcomp.extras import imported
from embcomp.storage.arrays import open_array
from embcomp.storage.bringing import brought
from embcomp.storage.expansion import most_bytes, refuse_array, refuse_parquet
from embcomp.storage.files import file_hash, fingerprint, read_json
from embcomp.storage.ids import clean_ids, ids_of_rows, read_ids, spelled_otherwise, spelling
from embcomp.storage.imposters import head_of, imposter
from embcomp.storage.parquet import import_pyarrow
from embcomp.storage.pickled import texts_of
from embcomp.storage.shards import is_sharded
from embcomp.storage.store import EmbeddingStore

IDS = ("id", "ids", "path", "paths", "clip", "clips", "name", "names", "file", "files", "filename", "key", "keys")
VECTORS = ("embedding", "embeddings", "vector", "vectors", "features", "images", "x", "data")
NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)
Columns = dict[str, np.ndarray]


class VectorFile(EmbeddingStore):
    """Vectors of a file that is none of our stores, read as if it were one.

    Attributes
    ----------
    named : bool
        Whether the ids are those of the file, or of a manifest; otherwise they are the numbers of the rows.
    hashes : list of str
        Of each row its `vector_keys`: what a row is where there is no audio.
    """

    def __init__(self, path: Path, data: np.ndarray, ids: list[str], frames: int, named: bool):
        self.path, self.data, self.ids, self.named = path, data, ids, named
        self._row_of = None
        self._frames = frames

    @functools.cached_property
    def settings(self) -> dict[str, Any]:  # type: ignore[override]
        """As of a store: a key of the content, and the number of vectors a row has."""
        return {"vectors": content_key(self.path), **({"frames": self._frames} if self._frames > 1 else {})}

    @property
    def frames(self) -> int:
        """Vectors in a row."""
        return self._frames

    @functools.cached_property
    def hashes(self) -> list[str]:  # type: ignore[override]
        return vector_keys(self.data)


def vector_keys(data: np.ndarray) -> list[str]:
    """A key of the content of each row of `data` (n, dim), by its float32 values."""
    keys = []
    for start in range(0, len(data), 1024):
        block = np.ascontiguousarray(data[start : start + 1024], dtype="<f4")
        keys += [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in block]
    return keys


def content_key(path: Path) -> str | list[str]:
    """A key of the vectors in a store, a file, or a folder of files, and of ids that lie beside it."""
    if not path.is_dir():
        ids = _ids_beside(path) if path.suffix == ".npy" else None
        return file_hash(path) if ids is None else [file_hash(path), fingerprint(ids)]
    if (path / "data.npy").exists():
        return file_hash(path / "data.npy")
    if is_sharded(path):
        return fingerprint([one.get("hash", "") for one in read_json(path / "meta.json")["shards"]])
    return fingerprint([[one.relative_to(path).as_posix(), file_hash(one)] for one in _files(path)])


def open_vectors(path: str | os.PathLike, names: Sequence[str] | None = None) -> EmbeddingStore:
    """Open vectors for reading.

    Accepted are an embcomp store; ``FILE.npy`` (n, dim), with ``FILE.ids.txt`` (one a line) or ``FILE.ids.npy``
    beside it; ``FILE.npz`` with an array of vectors and one of ids, or an array for each clip; ``FILE.parquet``,
    ``FILE.csv`` and ``FILE.tsv`` with a column ``id`` and the values in a column of lists (nested ones are vectors over time), in a
    nested column or in columns of numbers; ``FILE.h5`` as .npz; a folder with a .npy file for each clip. Arrays of
    shape (n, k, dim) hold k vectors a clip, of equal shares of its time.

    Parameters
    ----------
    path : path or URL
    names : sequence of str, optional
        Ids of the rows, in order, for a file that has none. A file that has ids is not looked at with these; without
        either, rows are called by their numbers from 0 on.

    Raises
    ------
    StoreError
        Missing, of another kind, not numbers, an id twice, or another number of rows than ids.
    MissingDependencyError
        What reads that kind of file is not installed.
    """
    path = brought(path)
    if not path.exists():
        raise StoreError(f"no embeddings at {path}")
    if path.is_dir() and ((path / "meta.json").exists() or (path / "data.npy").exists()):
        return EmbeddingStore.open(path)
    data, ids = read_arrays(path)
    if data.dtype.kind not in "fiu":
        raise StoreError(f"{path}: vectors must be numbers, not {data.dtype}")
    frames = 1
    if data.ndim == 3 and data.shape[1]:
        frames = data.shape[1]
        data = data.reshape(len(data), -1)
    if data.ndim != 2 or not data.shape[1]:
        raise StoreError(f"{path}: vectors have the shape (n, dim), or (n, k, dim) over time, not {data.shape}")
    named = ids is not None or names is not None
    return VectorFile(path, data, ids_of_rows(ids, names, data, path, "vectors"), frames, named)


def matched(store: EmbeddingStore, ids: Iterable[str]) -> EmbeddingStore:
    """The store with its ids written as `ids` write them, where they differ by the ending of a file's name alone."""
    if not isinstance(store, VectorFile):
        return store
    if not store.path.is_dir():
        row_of = {name: row for row, name in enumerate(store.ids)}
        for name, row in spelled_otherwise(row_of, ids).items():
            store.ids[row] = name
        return store
    written: dict[str, str] = {}
    for name in ids:
        for form in (name, str(PurePosixPath(name).with_suffix("")) if name else name):
            written.setdefault(spelling(form), name)
    # a.npy and a.wav.npy may both be meant for a.wav.
    store.ids = clean_ids(
        [written.get(spelling(one), one) for one in store.ids], f"{store.path}, as the manifest's ids"
    )
    return store


def read_arrays(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """The rows of a file or folder of whatever shape, and their ids if it has any.

    Raises
    ------
    StoreError
        Of another kind, damaged, or without such an array.
    """
    readers: dict[str, Callable[[Path], tuple[np.ndarray, list[str] | None]]] = {
        ".npy": _npy,
        ".npz": _npz,
        ".parquet": _parquet,
        ".csv": _csv,
        ".tsv": _csv,
        ".h5": _hdf5,
        ".hdf5": _hdf5,
    }
    if path.suffix.lower() == ".lance":
        raise StoreError(f"{path} is a Lance table; make a store of it: embcomp store import {path} --out STORE")
    read = _folder if path.is_dir() else readers.get(path.suffix.lower())
    if read is None:
        raise StoreError(
            f"{path}: embeddings come as an embcomp store, {', '.join(readers)}, or a folder of .npy files, one a clip"
        )
    if path.exists() and not path.is_dir() and not path.is_file():  # a pipe or a device has no end
        raise StoreError(f"cannot read {path}: not a regular file")
    if other := "" if path.is_dir() or path.suffix == ".npz" else imposter(head_of(path)):
        raise StoreError(f"{path} holds no embeddings: it {other}")
    try:
        return read(path)
    except (OSError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, (StoreError, MissingDependencyError)):
            raise
        raise StoreError(f"cannot read {path}: {error}") from None


def _npy(path: Path) -> tuple[np.ndarray, list[str] | None]:
    return open_array(path), _ids_beside(path)


def _ids_beside(path: Path) -> list[str] | None:
    """Ids in a file beside a .npy."""
    beside, array = path.with_suffix(".ids.txt"), path.with_suffix(".ids.npy")
    ids = None
    if beside.exists():
        ids = read_ids(beside)
    elif array.exists():
        ids = clean_ids(open_array(array), str(array))
    return ids


def _npz(path: Path) -> tuple[np.ndarray, list[str] | None]:
    _check_zip(path)
    with np.load(path, allow_pickle=False) as arrays:
        return _of_arrays({name: _array(path, arrays, name) for name in arrays.files}, path)


def _array(path: Path, arrays: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    """An array of a .npz; ids kept as Python objects are read without running what the file says."""
    try:
        return arrays[name]
    except ValueError as error:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            _, _, dtype = _header(file)
            if not dtype.hasobject or name.lower() not in IDS:
                raise
            try:
                return np.array(texts_of(file.read()), dtype=object)
            except (ValueError, LookupError, TypeError, AttributeError) as reason:
                raise StoreError(
                    f"{path}: its ids are Python objects and not texts ({reason}); save them as text: "
                    "np.savez(file, ids=np.array(ids, dtype=str), embeddings=...)"
                ) from error


def _of_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Vectors and ids among named arrays: one of each, or an array for each clip."""
    known = {name.lower(): name for name in arrays}
    several = {name: one for name, one in arrays.items() if one.ndim in (2, 3, 4) and one.dtype.kind in "fiu"}
    named = [known[name] for name in VECTORS if name in known and known[name] in several]
    ids = next((known[name] for name in IDS if name in known and arrays[known[name]].ndim == 1), None)
    if named or len(several) == 1:
        vectors = several[named[0] if named else next(iter(several))]
        return vectors, None if ids is None else clean_ids(arrays[ids], str(path))
    shapes = {one.shape for one in arrays.values()}
    if len(shapes) == 1 and next(iter(shapes)) and all(one.dtype.kind in "fiu" for one in arrays.values()):
        return np.stack(list(arrays.values())), list(arrays)
    raise StoreError(
        f"{path} lacks 'embeddings': it must hold an array of vectors (n, dim) with that name, and one of ids, or an array "
        f"of the same shape for each clip; found {', '.join(list(arrays)[:5]) or 'nothing'}"
    )


def _hdf5(path: Path) -> tuple[np.ndarray, list[str] | None]:
    h5py = imported("h5py", "HDF5 files need", extra="hdf5")
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path, "r") as file:

        def keep(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                refuse_array(path, item.size * item.dtype.itemsize if item.size else 0)
                arrays[name] = item.asstr("utf-8")[()] if h5py.check_string_dtype(item.dtype) else item[()]

        file.visititems(keep)
    return _of_arrays({name: np.asarray(one) for name, one in arrays.items()}, path)


def _folder(path: Path) -> tuple[np.ndarray, list[str] | None]:
    files = _files(path)
    if not files:
        raise StoreError(f"{path} is no store and holds no .npy file")
    first, rows = open_array(files[0]), []
    for file in files:
        array = open_array(file)
        if array.shape != first.shape or array.ndim not in (1, 2):
            raise StoreError(
                f"{file} has the shape {array.shape}, {files[0].name} {first.shape}: all have (dim,), or (k, dim) over time"
            )
        rows.append(np.asarray(array[0] if array.shape[0] == 1 and array.ndim == 2 else array))
    return np.stack(rows), [file.relative_to(path).with_suffix("").as_posix() for file in files]


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.npy"))


def _parquet(path: Path) -> tuple[np.ndarray, list[str] | None]:
    pyarrow = import_pyarrow()
    try:
        refuse_parquet(path, pyarrow.parquet.read_metadata(path))
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pyarrow.types.is_struct(column.type):
            columns |= {f"{name}.{one.name}": column.field(one.name).to_pylist() for one in column.type}
        else:
            columns[name] = column.to_pylist()
    return _of_columns(columns, path)


def _csv(path: Path) -> tuple[np.ndarray, list[str] | None]:
    import pandas as pd

    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header, first = file.readline(1 << 20), file.readline(1 << 20)
    separator = max(",;\t", key=header.count)
    # Where numbers have a decimal comma, cells are parted by something else.
    form = {"sep": separator, "decimal": "," if separator != "," and re.search(r"\d,\d", first) else "."}
    names = list(pd.read_csv(path, nrows=0, **form))
    table = pd.read_csv(path, dtype={name: str for name in names if name.lower() in IDS}, keep_default_na=True, **form)
    return _of_columns({name: table[name].tolist() for name in names}, path)


def _of_columns(columns: Mapping[str, list], path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Vectors and ids among the columns of a table."""
    known = {name.lower(): name for name in columns}
    id_column = next((known[name] for name in IDS if name in known), None)
    ids = None if id_column is None else clean_ids(columns[id_column], str(path))
    lists = [name for name, cells in columns.items() if cells and isinstance(cells[0], (list, tuple))]
    named = [known[name] for name in VECTORS if known.get(name) in lists]
    if named or len(lists) == 1:
        cells = columns[named[0] if named else lists[0]]
        widths = {len(cell) if cell is not None else None for cell in cells}
        if len(widths) > 1:
            raise StoreError(f"{path}: the vectors of {lists[0]!r} differ in width: {sorted(map(str, widths))[:4]}")
        return np.array(cells), ids
    chosen = wide({name: cells for name, cells in columns.items() if name != id_column and any(map(_number, cells))})
    for name in chosen:
        bad = [row for row, cell in enumerate(columns[name]) if not _number(cell)]
        if bad:
            raise StoreError(
                f"{path}: row {bad[0]} (the first is 0) has {columns[name][bad[0]]!r} for a number in {name!r}"
            )
    if not chosen:
        raise StoreError(
            f"{path} lacks 'embedding': a column of lists, or columns of numbers (e0, e1, ...), must hold the vectors; "
            f"found {', '.join(list(columns)[:8])}"
        )
    return np.array([columns[name] for name in chosen], dtype=np.float32).T, ids


def wide(numbers: Mapping[str, Sequence]) -> list[str]:
    """Which columns of numbers are a vector's: those of one name with numbers, in their order; else all with fractions."""
    series: dict[str, list[tuple[int, str]]] = {}
    for name in numbers:
        if found := NUMBERED.fullmatch(name):
            series.setdefault(found[1], []).append((int(found[2]), name))
    longest = sorted(max(series.values(), key=len, default=[]))
    if len(longest) > 1 and longest[-1][0] - longest[0][0] == len(longest) - 1:
        return [name for _, name in longest]
    return [name for name, cells in numbers.items() if any(map(_fraction, cells))]


def _fraction(cell: Any) -> bool:
    return isinstance(cell, float) or (isinstance(cell, str) and "." in cell and _number(cell))


def _number(cell: Any) -> bool:
    """Whether a cell holds a number; pandas reads a column with one text in it as texts."""
    if isinstance(cell, str):
        try:
            float(cell)
            return True
        except ValueError:
            return False
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    return read(file)


def _check_zip(path: Path) -> None:
    """Refuse arrays that would take more memory than the file can hold, before any is made."""
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                if item.file_size > most_bytes(item.compress_size):
                    raise StoreError(f"{path}: {item.filename} unpacks to {item.file_size >> 20} MB; not read")
                with archive.open(item) as file:
                    shape, _, dtype = _header(file)
                    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > item.file_size:
                        raise StoreError(
                            f"{path}: {item.filename} does not hold the {shape} values its header promises"
                        )
    except (zipfile.BadZipFile, zlib.error, SyntaxError, TokenError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
