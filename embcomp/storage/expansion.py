"""Compressed files that would unpack to more than a machine holds: refused by what they say of themselves, before they are read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from embcomp.errors import EmbcompError, StoreError

MAX_EXPANSION = 100  # real vectors and tables shrink by less
WIDTH = 8  # bytes of a value, about


def most_bytes(size: int) -> int:
    """Bytes that `size` compressed bytes may unpack to."""
    return MAX_EXPANSION * max(size, 1 << 20)


def refuse_parquet(path: Path, about: Any, error: type[EmbcompError] = StoreError) -> None:
    """Refuse a Parquet file whose metadata `about` promises more values than it can hold in earnest.

    Raises
    ------
    EmbcompError
        Of the kind `error`.
    """
    # Of single columns it is not asked: where their description is damaged, pyarrow ends the process.
    size = sum(about.row_group(row).total_byte_size for row in range(about.num_row_groups))
    _refuse(path, max(size, about.num_rows * about.num_columns * WIDTH), error)


def refuse_zip(path: Path, error: type[EmbcompError] = StoreError) -> None:
    """Refuse a ZIP archive, such as an Excel workbook, that unpacks to too much.

    Raises
    ------
    EmbcompError
        Of the kind `error`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # whoever opens it says what is wrong
    _refuse(path, size, error)


def refuse_array(path: Path, size: int) -> None:
    """Refuse an array of `size` bytes in a compressed file.

    Raises
    ------
    StoreError
    """
    _refuse(path, size, StoreError)


def _refuse(path: Path, size: int, error: type[EmbcompError]) -> None:
    if size > most_bytes(path.stat().st_size):
        raise error(
            f"{path} unpacks to {size >> 20} MB, over {MAX_EXPANSION} times its size; not read: save it uncompressed"
        )
