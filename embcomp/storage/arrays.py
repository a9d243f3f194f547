"""Arrays in files: opened without trust, filled row by row, by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from embcomp.errors import ArtifactError, BusyError, DataError, EmbcompError, StoreError, counted, why
from embcomp.storage.files import check_regular, read_json, write_json
from embcomp.storage.imposters import head_of, imposter


def open_array(path: str | os.PathLike) -> np.memmap:
    """Map a ``.npy`` file, read only: nothing is unpickled, and nothing allocated that the file does not hold.

    Raises
    ------
    ArtifactError
        Missing, not a plain file, or damaged.
    """
    check_regular(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, ArithmeticError, MemoryError, SyntaxError, TokenError) as error:
        raise ArtifactError(f"cannot read {path}: {imposter(head_of(path), archives=False) or error}") from None


class RowFile:
    """Rows of a ``.npy`` file, read when they are asked for.

    Nothing of the file stays in this process. Of a memory map every page that was touched counts as the process's
    own for as long as the system has room, so that random rows of a large file look like all of it.

    Parameters
    ----------
    path : path
        Of an array (n, width) in C order.

    Raises
    ------
    ArtifactError
        Missing, not a plain file, or damaged.
    """

    def __init__(self, path: str | os.PathLike):
        about = open_array(path)
        if about.ndim != 2 or not about.flags.c_contiguous:
            raise ArtifactError(f"{path} is no table of rows in C order: shape {about.shape}")
        self.path, self.shape, self.dtype, self._start = Path(path), about.shape, about.dtype, about.offset
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115, closed with the object
        if hasattr(os, "posix_fadvise"):
            # Reading ahead would read rows that nobody asked for.
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `rows`, int64 (k,), as an array (k, width) of the file's type.

        Raises
        ------
        IndexError
            There is no such row.
        ArtifactError
            The file ended early or cannot be read.
        """
        if len(rows) and not 0 <= int(np.min(rows)) <= int(np.max(rows)) < self.shape[0]:
            raise IndexError(f"rows {np.min(rows)} to {np.max(rows)} of {self.path}, which has {self.shape[0]}")
        rows = np.asarray(rows, dtype=np.int64)
        order = np.argsort(rows, kind="stable")  # forwards through the file
        found = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        size = self.shape[1] * self.dtype.itemsize
        runs = np.flatnonzero(np.diff(rows[order]) != 1) + 1
        try:
            if 4 * len(runs) < len(rows):  # rows that follow each other are read at once
                in_order = bool((np.diff(rows) >= 0).all())
                together = found if in_order else np.empty_like(found)
                for start, stop in zip([0, *runs.tolist()], [*runs.tolist(), len(rows)]):
                    if stop > start:
                        self._read(int(rows[order[start]]), together[start:stop], size)
                if not in_order:
                    found[order] = together
                return found
            for place in order:
                self._read(int(rows[place]), found[place], size)
        except OSError as error:
            raise ArtifactError(f"cannot read {self.path}: {error.strerror or error}") from None
        return found

    def _read(self, row: int, into: np.ndarray, size: int) -> None:
        self._file.seek(self._start + row * size)
        if self._file.readinto(into.data) != into.nbytes:
            raise ArtifactError(f"{self.path} ends before its row {row + (into.nbytes > size)}; make it again")


def scratch_rows(
    blocks: Iterable[np.ndarray], width: int, folder: str | os.PathLike, copies: bool = False
) -> np.memmap:
    """Blocks of rows, one after the other, in a file without a name that is gone when the array is.

    For what would not fit in memory at once. Written as a file and not as a memory map: there a full disk would end
    the process.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (k, width)
    folder : path
        Whose disk has the room.
    copies : bool, default=False
        Let what is written into the array stay in memory; torch asks for arrays that may be written into.

    Returns
    -------
    memmap of shape (n, width), float32, read only

    Raises
    ------
    StoreError
        The disk is full.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        count = 0
        try:
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype=np.float32).data)
                count += len(block)
            file.flush()
        except OSError as error:
            raise StoreError(f"cannot write rows into {folder}: {why(error)}") from None
        return np.memmap(file, dtype=np.float32, mode="c" if copies else "r", shape=(count, width))


def checked_rows(values: Any, rows: np.ndarray, dim: int, dtype: str, ids: Sequence[str]) -> np.ndarray:
    """Values as rows of a store (k, dim) of type `dtype`.

    Raises
    ------
    DataError
        Another shape, NaN or infinity; the first such row is named by its id, `ids` being those of all rows.
    """
    values = np.asarray(values)
    if values.shape != (len(rows), dim):
        raise DataError(f"expected vectors of shape {(len(rows), dim)}, got {values.shape}")
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        named = ids[rows[np.flatnonzero(bad)[0]]]
        raise DataError(
            f"{counted(bad.sum(), 'vector is', 'vectors are')} NaN or infinite (in {dtype}), that of {named!r} first"
        )
    return values


class PartialRows:
    """A store in writing: ``data.npy``, and ``done.npy`` with a 1 for each row that is there.

    Rows are written into the files, not into a memory map: there a full disk
    would end the process, and every row would stay in memory.

    Parameters
    ----------
    folder : Path
        Where they lie. What an earlier call left there is gone on with if it had the same plan.
    plan : dict
        JSON-able: ``rows``, ``dim``, ``dtype``, and whatever else decides the rows.
    kept : bool, default=True
        Whether the folder outlasts a call that fails. Where it does not, the system's own error is left to the caller, who
        knows what was to be written.

    Attributes
    ----------
    done : ndarray of shape (rows,), uint8

    Raises
    ------
    EmbcompError
        The folder cannot be written, or the disk has no room for all rows.
    """

    def __init__(self, folder: Path, plan: dict, kept: bool = True):
        self.folder, self.kept = folder, kept
        if not self._continues(plan):
            shutil.rmtree(folder, ignore_errors=True)
            self._create(plan)
        self.done = np.load(folder / "done.npy", allow_pickle=False)
        self.files = [open(folder / name, "r+b") for name in ("data.npy", "done.npy")]  # noqa: SIM115, closed by __exit__
        self.starts = [open_array(folder / name).offset for name in ("data.npy", "done.npy")]

    def _continues(self, plan: dict) -> bool:
        """Whether the folder has unfinished rows of the same plan."""
        try:
            if read_json(self.folder / "plan.json") != plan:
                return False
            data, done = (open_array(self.folder / name) for name in ("data.npy", "done.npy"))
        except (OSError, ValueError):
            return False  # nothing usable from an earlier call: start again
        shape = (plan["rows"], plan["dim"])
        return (data.shape, str(data.dtype), done.shape, done.dtype) == (shape, plan["dtype"], shape[:1], np.uint8)

    def _create(self, plan: dict) -> None:
        count, folder = plan["rows"], self.folder
        try:
            folder.mkdir(parents=True)
            shapes = {"data.npy": (plan["dtype"], (count, plan["dim"])), "done.npy": ("uint8", (count,))}
            for name, (dtype, shape) in shapes.items():
                np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=shape)
                _reserve(folder / name)
            write_json(folder / "plan.json", plan)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if not self.kept:
                raise
            raise EmbcompError(f"cannot write a store beside {folder.parent}: {why(error)}") from error
        except ValueError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise DataError(f"cannot make a store of {count} rows of {plan['dim']} values: {error}") from error
        except EmbcompError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def __enter__(self) -> PartialRows:
        return self

    def __exit__(self, *exc: object) -> None:
        for file in self.files:
            with contextlib.suppress(OSError):
                file.close()

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep `values` (k, dim) as the rows `rows` (k,), in rising order."""
        marks = np.ones((len(rows), 1), dtype=np.uint8)
        try:
            # The data must be there before the flag that says so.
            for file, start, content in zip(self.files, self.starts, (values, marks)):
                width = content.shape[1] * content.dtype.itemsize
                for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
                    if len(run):
                        file.seek(start + int(rows[run[0]]) * width)
                        file.write(np.ascontiguousarray(content[run]).data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if not self.kept:
                raise
            raise StoreError(
                f"cannot write {self.folder}: {error.strerror or error}; {int(self.done.sum())} of {len(self.done)} "
                "rows are kept, the same call goes on from there"
            ) from error
        self.done[rows] = 1


def _reserve(path: Path) -> None:
    """Claim the disk space of a file that was made sparse: better no room now than after hours."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise


class WriterLock:
    """One writer at a time: an advisory lock that the system drops when its holder dies.

    Parameters
    ----------
    path : Path
        What is written.
    what : str, default="a store"
        For messages.
    inside : bool, default=False
        Whether `path` is a folder that is filled in place, and may hold the lock; by default the lock lies beside it.
        If nothing else was written into the folder, the lock takes it away again.
    """

    def __init__(self, path: Path, what: str = "a store", inside: bool = False):
        self.path, self.what = path, what
        self.file = path / ".lock" if inside else path.with_name(f".{path.name}.lock")
        self.made = inside and not path.exists()

    def __enter__(self) -> WriterLock:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.handle = open(self.file, "w")
        except OSError as error:
            raise StoreError(f"cannot write {self.what} at {self.path}: {why(error)}") from error
        try:
            import fcntl
        except ImportError:  # not on Windows: there the rename at the end still keeps the store whole
            return self
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder that ended in between took the file away, so that a third writer would lock another.
            if os.stat(self.file).st_ino != os.fstat(self.handle.fileno()).st_ino:
                raise BlockingIOError
        except BlockingIOError:
            self.handle.close()
            raise BusyError(f"another process is writing {self.path}; wait for it to end") from None
        except OSError:
            pass  # a file system without locks: there, too, the rename keeps it whole
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.unlink(missing_ok=True)
        self.handle.close()
        if self.made:
            with contextlib.suppress(OSError):
                self.path.rmdir()
