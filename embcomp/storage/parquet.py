"""pyarrow, imported where a Parquet file is read."""

from __future__ import annotations

from typing import Any

from embcomp.extras import imported


def import_pyarrow() -> Any:
    """The package, with its module ``parquet``.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    imported("pyarrow.parquet", "Parquet files need", extra="tables")  # an attribute of the package from now on
    return imported("pyarrow", "Parquet files need", extra="tables")
