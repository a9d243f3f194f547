"""Lance tables: folders of columns that are read and written batch by batch."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from embcomp.errors import StoreError, why
from embcomp.extras import imported
from embcomp.storage.files import file_hash, replace_folder
from embcomp.storage.tables import Table

SUFFIX = ".lance"
AHEAD, BUFFER = 2, 64 << 20  # batches, and bytes of files, read before they are asked for; by default up to gigabytes
PARTS = ("data", "_versions")  # folders of every table


def import_lance() -> Any:
    """The package.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    return imported("lance", "Lance tables need", "pylance", "lance")


def is_lance(path: Path) -> bool:
    """Whether a path is of a Lance table, by its name or by what is in it."""
    return path.suffix.lower() == SUFFIX or all((path / part).is_dir() for part in PARTS)


class LanceTable(Table):
    """A Lance table.

    Parameters
    ----------
    path : Path
        Its folder.

    Raises
    ------
    StoreError
        It is missing, damaged, or no table of vectors.
    MissingDependencyError
        pylance is not installed.
    """

    def __init__(self, path: Path):
        lance = import_lance()
        if not all((path / part).is_dir() for part in PARTS):
            raise StoreError(f"cannot read {path}: {'no Lance table' if path.exists() else 'no such folder'}")
        with _errors(path):
            self.dataset = lance.dataset(str(path))
            schema, self.count = self.dataset.schema, self.dataset.count_rows()
        super().__init__(path, schema)

    def __len__(self) -> int:
        return self.count

    def key(self) -> list[list[str]]:
        """A key of its content."""
        files = sorted(file for file in self.path.rglob("*") if file.is_file())
        return [[file.relative_to(self.path).as_posix(), file_hash(file)] for file in files]

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of at most so many rows, in order."""
        with _errors(self.path):
            yield from self.dataset.to_batches(
                columns=list(columns),
                batch_size=rows,
                scan_in_order=True,
                batch_readahead=AHEAD,
                fragment_readahead=1,
                io_buffer_size=BUFFER,
            )


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """What the reader says of a damaged table, as a `StoreError`."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        said = str(error).partition("\n")[0]
        raise StoreError(f"cannot read {path}: {said}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the library itself, on a damaged file
            raise
        raise StoreError(f"cannot read {path}: the file is damaged") from None


def write_lance(out: Path, schema: Any, batches: Iterator[Any]) -> None:
    """Write batches as a Lance table that appears whole.

    Parameters
    ----------
    out : Path
        Must not exist.
    schema : pyarrow.Schema
    batches : iterator of pyarrow.RecordBatch

    Raises
    ------
    StoreError
        It cannot be written.
    MissingDependencyError
        pylance is not installed.
    """
    lance = import_lance()
    import pyarrow

    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        lance.write_dataset(pyarrow.RecordBatchReader.from_batches(schema, batches), str(temporary), mode="create")
        replace_folder(temporary, out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
