"""Compressed files that would unpack to more than a machine holds: refused by what they say of themselves, before they are read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from embcomp.errors import EmbcompError, StoreError

MAX_EXPANSION = 100  # real vectors and tables shrink by less
WIDTHS = {
    "BOOLEAN": 1,
    "INT32": 4,
    "FLOAT": 4,
    "INT64": 8,
    "DOUBLE": 8,
    "INT96": 12,
}  # bytes of a Parquet value; texts have 8 and more


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
    parts = (
        about.row_group(row).column(one) for row in range(about.num_row_groups) for one in range(about.num_columns)
    )
    size = sum(max(one.total_uncompressed_size, one.num_values * WIDTHS.get(one.physical_type, 8)) for one in parts)
    _refuse(path, max(size, about.num_rows), error)


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
