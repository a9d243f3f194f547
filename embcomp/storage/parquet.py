"""pyarrow, imported where a Parquet file is read."""

from __future__ import annotations

from typing import Any

from embcomp.storage.extras import imported


def import_pyarrow() -> Any:
    """The package, with its module ``parquet``.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    pyarrow = imported("pyarrow", "Parquet files", "pyarrow", "tables")
    imported("pyarrow.parquet", "Parquet files", "pyarrow", "tables")  # an attribute of the package from now on
    return pyarrow
