"""What workers hand to the process that started them: files in a hidden folder beside the result."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embcomp.errors import StoreError, why
from embcomp.storage.ownership import listing

SEEN = 60.0  # seconds until a file that another machine has written must be seen here
CHUNKS = ("chunk-*.npy*",)


def chunk_folder(path: Path, kind: str = "chunks", ours: Sequence[str] = CHUNKS, keep: bool = False) -> Path:
    """A folder beside the result at `path`; what a call that was killed left there is cleared away, but for `keep`.

    Parameters
    ----------
    ours : sequence of str
        Patterns of the names of the files that it may hold.

    Raises
    ------
    StoreError
        It holds other files, or cannot be made.
    """
    path = path.resolve() if path.is_symlink() else path
    folder = path.with_name(f".{path.name}.{kind}")
    if not keep:
        clear(folder, ours)
    if folder.is_dir():
        others = [name for name in sorted(os.listdir(folder)) if not (keep and _matches(name, ours))]
        if others:
            raise StoreError(f"{folder} holds {listing(others)}, no chunks of a store; choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=keep)
    except OSError as error:
        raise StoreError(f"cannot write beside {path}: {why(error)}") from None
    return folder


def clear(folder: Path, ours: Sequence[str] = CHUNKS) -> None:
    """Take away the files that workers left in a folder, and the folder if it holds nothing else."""
    try:
        for name in os.listdir(folder):
            if _matches(name, ours):
                (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        pass  # not there, or somebody else's files in it


def _matches(name: str, ours: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ours)


def write_chunk(out: str | os.PathLike, arrays: np.ndarray | dict[str, np.ndarray]) -> None:
    """Write an array as ``.npy``, or several as ``.npz``, under a name that appears when the file is whole.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    half = f"{os.fspath(out)}.{os.getpid()}"  # its first try may still be at it
    try:
        with open(half, "wb") as file:
            if isinstance(arrays, dict):
                np.savez(file, **arrays)
            else:
                np.save(file, arrays, allow_pickle=False)
        os.replace(half, out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from None


def read_chunk(file: Path) -> np.ndarray | dict[str, np.ndarray]:
    """What `write_chunk` was given, by another process.

    Raises
    ------
    StoreError
        It is not there, or damaged.
    """
    deadline = time.monotonic() + SEEN
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)  # a disk of the network may show new files late
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return dict(found)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot read {file}, which a worker has written ({getattr(error, 'strerror', None) or error}); "
            "all machines must see the same files at the same place"
        ) from None


def take_chunk(file: Path) -> np.ndarray:
    """The array of a chunk, whose file goes.

    Raises
    ------
    StoreError
        It is not there, or damaged.
    """
    found = read_chunk(file)
    file.unlink(missing_ok=True)
    return found
