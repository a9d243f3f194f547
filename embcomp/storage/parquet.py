"""pyarrow, imported where a Parquet file is read."""

from __future__ import annotations

from typing import Any

from embcomp.errors import MissingDependencyError


def import_pyarrow() -> Any:
    """The package, with its module ``parquet``.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError(
            "Parquet files need pyarrow: pip install -e '.[tables]' in the clone of embcomp"
        ) from None
    return pyarrow
