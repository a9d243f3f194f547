"""Embeddings somebody already has: our stores, .npy, .npz and .parquet."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from embcomp.errors import MissingDependencyError, StoreError
from embcomp.files import file_hash, fingerprint
from embcomp.manifest import Manifest
from embcomp.store import EmbeddingStore


class StoredTeacher:
    """Reads vectors instead of computing them.

    Accepted are an embcomp store; ``FILE.npy`` with one row per manifest row in
    manifest order, or with ``FILE.ids.txt`` beside it (one id per line);
    ``FILE.npz`` with arrays ``ids`` and ``embeddings``; ``FILE.parquet`` with the
    columns ``id`` and ``embedding``.

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

    def __init__(self, path: str | os.PathLike, manifest: Manifest):
        self.path = Path(path) if Path(path).is_absolute() or Path(path).exists() else manifest.folder / path
        self._vectors, ids = _read(self.path)
        if ids is None:
            ids = manifest.ids
            if len(self._vectors) != len(ids):
                raise StoreError(
                    f"{self.path} holds {len(self._vectors)} rows, the manifest {len(ids)}; put the ids in {self.path.with_suffix('.ids.txt').name}"
                )
        if self._vectors.ndim != 2 or len(ids) != len(self._vectors):
            raise StoreError(f"{self.path}: vectors of shape {self._vectors.shape} do not fit {len(ids)} ids")
        self._row_of = {str(clip): row for row, clip in enumerate(ids)}
        self.dim = self._vectors.shape[1]

    def fingerprint(self) -> str:
        """Key of the file's content."""
        return fingerprint(file_hash(self.path / "data.npy" if self.path.is_dir() else self.path))

    def rows(self, ids: list[str]) -> np.ndarray:
        """Vectors of `ids`, float32 (len(ids), dim).

        Raises
        ------
        StoreError
            An id is not there; the first is named.
        """
        missing = [clip for clip in ids if clip not in self._row_of]
        if missing:
            raise StoreError(f"{self.path} lacks {len(missing)} of {len(ids)} clips, {missing[0]!r} first")
        return np.asarray(self._vectors[[self._row_of[clip] for clip in ids]], dtype=np.float32)


def _read(path: Path) -> tuple[np.ndarray, list[str] | None]:
    if not path.exists():
        raise StoreError(f"no embeddings at {path}")
    if path.is_dir():
        store = EmbeddingStore.open(path)
        return store.data, store.ids
    try:
        if path.suffix == ".npy":
            beside = path.with_suffix(".ids.txt")
            ids = beside.read_text(encoding="utf-8").splitlines() if beside.exists() else None
            return np.load(path, mmap_mode="r", allow_pickle=False), ids
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return arrays["embeddings"], [str(clip) for clip in arrays["ids"]]
        if path.suffix == ".parquet":
            return _read_parquet(path)
    except KeyError as error:
        raise StoreError(f"{path} lacks {error}; it must hold ids and embeddings") from None
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    raise StoreError(f"{path}: embeddings come as an embcomp store, .npy, .npz or .parquet")


def _read_parquet(path: Path) -> tuple[np.ndarray, list[str]]:
    import pandas as pd

    try:
        table = pd.read_parquet(path, columns=["id", "embedding"])
    except ImportError:
        raise MissingDependencyError("reading .parquet needs pyarrow: pip install pyarrow") from None
    return np.stack(table["embedding"].to_numpy()), table["id"].astype(str).tolist()
