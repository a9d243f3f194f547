"""Embeddings somebody already has: our stores, .npy, .npz and .parquet."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, MissingDependencyError, StoreError
from embcomp.storage.arrays import open_array
from embcomp.storage.files import file_hash, fingerprint
from embcomp.storage.ids import clean_ids, read_ids, slashed
from embcomp.storage.imposters import head_of, imposter
from embcomp.storage.pickled import texts_of
from embcomp.storage.store import EmbeddingStore
from embcomp.teachers.base import Teacher, TeacherSettings

MAX_EXPANSION = 100  # of a compressed array: real vectors shrink by less


class StoredTeacher(Teacher):
    """Reads vectors instead of computing them.

    Accepted are an embcomp store; ``FILE.npy`` with one row per manifest row in
    manifest order, or with ``FILE.ids.txt`` beside it (one id per line);
    ``FILE.npz`` with arrays ``ids`` and ``embeddings``; ``FILE.parquet`` with the
    columns ``id`` and ``embedding``. Ids are texts, bytes or whole numbers, each once. An array of shape (n, k, dim) has k vectors per clip, of equal
    shares of its time.

    Parameters
    ----------
    path : path
        A relative path starts at the manifest's folder.
    manifest : Manifest
        The whole manifest, before any clip was left out: rows of a bare .npy are
        matched to it.

    Raises
    ------
    StoreError
        The file is missing, of another kind, or does not hold the manifest's clips.
    """

    name = "store"
    summary = "embeddings you already have: store:PATH"
    runs = False

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        def conflict(self) -> str:
            return "" if self.argument else "the teacher 'store' needs a path: store:PATH"

    @classmethod
    def open(cls, settings: Settings, manifest: Manifest | None = None) -> StoredTeacher:
        if manifest is None:
            raise ConfigError("stored vectors belong to the rows of a manifest; none was given")
        return cls(settings.argument, manifest)

    def __init__(self, path: str | os.PathLike, manifest: Manifest):
        self.path = Path(path) if Path(path).is_absolute() or Path(path).exists() else manifest.folder / path
        self._vectors, ids, self.frames = _read(self.path)
        # Beside a bare .npy they are no part of the file that is hashed.
        self._ids_key = fingerprint(ids) if ids is not None and self.path.suffix == ".npy" else ""
        if ids is None:
            ids = manifest.ids
            if len(self._vectors) != len(ids):
                raise StoreError(
                    f"{self.path} holds {len(self._vectors)} rows, the manifest {len(ids)}; put the ids in {self.path.with_suffix('.ids.txt').name}"
                )
        if self._vectors.dtype.kind not in "fiu":
            raise StoreError(f"{self.path}: vectors must be numbers, not {self._vectors.dtype}")
        if self._vectors.ndim == 3 and self._vectors.shape[1]:
            self.frames = self._vectors.shape[1]
            self._vectors = self._vectors.reshape(len(self._vectors), -1)
        if self._vectors.ndim != 2 or len(ids) != len(self._vectors):
            raise StoreError(f"{self.path}: vectors of shape {self._vectors.shape} do not fit {len(ids)} ids")
        self._row_of = {clip: row for row, clip in enumerate(ids)}
        self.dim = self._vectors.shape[1] // self.frames

    def fingerprint(self) -> str:
        """Key of the file's content."""
        content = file_hash(self.path / "data.npy" if self.path.is_dir() else self.path)
        content = [content, self._ids_key] if self._ids_key else content
        return fingerprint(content if self.frames == 1 else [content, self.frames])

    def rows(self, ids: list[str], over_time: bool = False) -> np.ndarray:
        """Vectors of `ids`, float32 (len(ids), dim), averaged over time, or (len(ids), frames, dim).

        Raises
        ------
        StoreError
            An id is not there; the first is named.
        """
        if any(clip not in self._row_of for clip in ids):
            self._row_of |= slashed(self._row_of, ids)
        missing = [clip for clip in ids if clip not in self._row_of]
        if missing:
            there = f"; it holds {next(iter(self._row_of))!r}, say" if self._row_of else ""
            raise StoreError(f"{self.path} lacks {len(missing)} of {len(ids)} clips, {missing[0]!r} first{there}")
        rows = np.asarray(self._vectors[[self._row_of[clip] for clip in ids]], dtype=np.float32)
        if self.frames == 1 and not over_time:
            return rows
        vectors = rows.reshape(len(rows), self.frames, self.dim)
        return vectors if over_time else vectors.mean(1)


def _read(path: Path) -> tuple[np.ndarray, list[str] | None, int]:
    if not path.exists():
        raise StoreError(f"no embeddings at {path}")
    if path.is_dir():
        store = EmbeddingStore.open(path)
        return store.data, store.ids, store.frames
    if other := imposter(head_of(path)) if path.suffix != ".npz" else "":
        raise StoreError(f"{path} holds no embeddings: it {other}")
    try:
        if path.suffix == ".npy":
            beside = path.with_suffix(".ids.txt")
            return open_array(path), read_ids(beside) if beside.exists() else None, 1
        if path.suffix == ".npz":
            _check_zip(path)
            with np.load(path, allow_pickle=False) as arrays:
                return arrays["embeddings"], clean_ids(_ids_of(path, arrays), str(path)), 1
        if path.suffix == ".parquet":
            return *_read_parquet(path), 1
    except KeyError as error:
        raise StoreError(f"{path} lacks {error}; it must hold ids and embeddings") from None
    except (OSError, ValueError, EOFError, TypeError, ArithmeticError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {path}: {error}") from None
    raise StoreError(f"{path}: embeddings come as an embcomp store, .npy, .npz or .parquet")


def _ids_of(path: Path, arrays: np.lib.npyio.NpzFile) -> Iterable:
    """The ids of a .npz; those kept as Python objects are read without running what the file says."""
    try:
        return arrays["ids"]
    except ValueError as error:
        with zipfile.ZipFile(path) as archive, archive.open("ids.npy") as file:
            _, _, dtype = _header(file)
            if not dtype.hasobject:
                raise
            try:
                return texts_of(file.read())
            except (ValueError, LookupError, TypeError, AttributeError) as reason:
                raise StoreError(
                    f"{path}: its ids are Python objects and not texts ({reason}); save them as text: "
                    "np.savez(file, ids=np.array(ids, dtype=str), embeddings=...)"
                ) from error


def _header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    return read(file)


def _check_zip(path: Path) -> None:
    """Refuse arrays that would take more memory than the file can hold, before any is made."""
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                if item.file_size > MAX_EXPANSION * max(item.compress_size, 1 << 20):
                    raise StoreError(f"{path}: {item.filename} unpacks to {item.file_size >> 20} MB; not read")
                with archive.open(item) as file:
                    shape, _, dtype = _header(file)
                    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > item.file_size:
                        raise StoreError(
                            f"{path}: {item.filename} does not hold the {shape} values its header promises"
                        )
    except (zipfile.BadZipFile, zlib.error, SyntaxError, TokenError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None


def _read_parquet(path: Path) -> tuple[np.ndarray, list[str]]:
    import pandas as pd

    try:
        table = pd.read_parquet(path, columns=["id", "embedding"])
    except ImportError:
        raise MissingDependencyError("reading .parquet needs pyarrow: pip install pyarrow") from None
    return np.stack(table["embedding"].to_numpy()), clean_ids(table["id"].tolist(), str(path))
