"""What commands print for programs: one JSON object on standard output, with ``--json``."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcomp.cli import common
from embcomp.storage.places import named

if TYPE_CHECKING:
    import pandas as pd

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table; cells without a value are null."""
    return [dict(zip(table.columns, row)) for row in table.itertuples(index=False, name=None)]


def print_json(content: dict[str, Any]) -> None:
    """Print an object; what JSON has no number for is null."""
    text = json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    click.echo(common.json_for(sys.stdout, text))


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, Path):
        return named(value)
    if hasattr(value, "item"):  # a number of numpy
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else str(value)
