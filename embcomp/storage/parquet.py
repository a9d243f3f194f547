"""pyarrow, imported where a Parquet file is read."""

from __future__ import annotations

import importlib
from typing import Any

from embcomp.storage.extras import imported


def import_pyarrow() -> Any:
    """The package, with its module ``parquet``.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    imported("pyarrow.parquet", "Parquet files", "pyarrow", "tables")
    return importlib.import_module("pyarrow")  # with that module as an attribute
