"""A table of numbers by id: which columns students see, and which name or label the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.data.columns import MEANING_OF, ROW_IDS, simplified
from embcomp.data.reading import read_cells
from embcomp.errors import ManifestError, StoreError, nearest
from embcomp.storage.expansion import refuse_parquet
from embcomp.storage.ids import clean_ids
from embcomp.storage.parquet import import_pyarrow

SHOWN = 8  # columns named


@dataclass(frozen=True)
class NumberTable:
    """The numbers of a table.

    Attributes
    ----------
    data : ndarray of shape (n, columns, 1), float32
        NaN where a cell is empty.
    ids : list of str
    columns : list of str
    left_out : str
        The other columns, with the reason; empty where there are none.
    """

    data: np.ndarray
    ids: list[str]
    columns: list[str]
    left_out: str


def read_table(path: Path, columns: Sequence[str] = ()) -> NumberTable:
    """Read a CSV or Parquet table of numbers.

    A column whose name means a label, a group, a split or a data set in a manifest is not taken unless it is among
    `columns`: a student that saw it would be given the answer.

    Raises
    ------
    StoreError
        It has no column of ids, none of numbers, or not the columns that are asked for.
    """
    table = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    id_column = _id_column(list(table), path)
    ids = clean_ids(table[id_column].to_numpy(object), str(path))
    numbers: dict[str, np.ndarray] = {}
    text: dict[str, str] = {}
    meanings: list[str] = []
    for name in columns or [name for name in table if name != id_column]:
        if name not in table:
            raise StoreError(f"{path} has no column {name!r}; {nearest(name, list(table))}")
        if not columns and MEANING_OF.get(simplified(name)) in ("label", "group", "split", "dataset", "path"):
            meanings.append(name)
            continue
        values, wrong = _numbers(table[name])
        if wrong:
            text[name] = wrong
        else:
            numbers[name] = values
    if columns and text:
        name, wrong = next(iter(text.items()))
        raise StoreError(f"{path}: the column {name!r} holds {wrong}, and students take numbers; encode it as numbers")
    if not numbers:
        raise StoreError(f"{path} has no column of numbers beside {id_column!r} (found: {_some(list(table))})")
    reasons = [
        f"{_some(names)} ({reason})"
        for names, reason in ((meanings, "by their names they may hold the answer"), (list(text), "no numbers"))
        if names
    ]
    left_out = "; ".join(reasons) + ("; data.columns names those that are" if reasons else "")
    data = np.stack(list(numbers.values()), axis=1)[:, :, None]
    return NumberTable(data, ids, list(numbers), left_out)


def _csv(path: Path) -> pd.DataFrame:
    try:
        cells = read_cells(path, "table of inputs")
    except ManifestError as error:
        raise StoreError(str(error)) from None
    table = cells.table.loc[~(cells.table == "").all(axis=1).to_numpy()]
    if table.columns.duplicated().any():
        name = table.columns[table.columns.duplicated()][0]
        raise StoreError(f"{path} has two columns {name!r}; keep one")
    if table.empty:
        raise StoreError(f"{path} holds no rows")
    if cells.separator != ",":  # where a comma may be the decimal point
        table = table.apply(lambda column: column.str.replace(r"^(\s*[-+]?\d+),(\d+\s*)$", r"\1.\2", regex=True))
    return table


def _parquet(path: Path) -> pd.DataFrame:
    pyarrow = import_pyarrow()
    try:
        refuse_parquet(path, pyarrow.parquet.read_metadata(path))
        return pyarrow.parquet.read_table(path).to_pandas()
    except StoreError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None


def _id_column(names: Sequence[str], path: Path) -> str:
    known = {simplified(str(name)): name for name in names}
    for name in ("path", *ROW_IDS):
        if name in known:
            return known[name]
    files = [name for name in names if MEANING_OF.get(simplified(str(name))) == "path"]
    if len(files) == 1:
        return files[0]
    raise StoreError(
        f"{path} has no column 'id' with the ids of the manifest (found: {_some(list(map(str, names)))}); "
        f"{nearest('id', list(map(str, names)))}"
    )


def _numbers(column: pd.Series) -> tuple[np.ndarray, str]:
    """The values as float32, or what they are instead."""
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        blank = column.isna() | column.isin(["", "nan", "NaN", "NA", "None", "null"])
        lower = column.astype(str).str.strip().str.lower()
        if lower[~blank].isin(["true", "false"]).all() and not blank.all():
            return _float32(lower.map({"true": 1.0, "false": 0.0})), ""
        values = pd.to_numeric(column.where(~blank), errors="coerce")
        wrong = values.isna() & ~blank
        if wrong.any():
            return np.empty(0), f"{column[wrong].iloc[0]!r}"[:60]
        return _float32(values), ""
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return np.empty(0), f"{column.dtype} values"
    if pd.api.types.is_complex_dtype(column.dtype):
        return np.empty(0), "complex numbers"
    return _float32(pd.to_numeric(column, errors="coerce")), ""


def _float32(values: pd.Series) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.to_numpy(np.float64, na_value=np.nan).astype(np.float32)


def _some(names: Sequence[str] | Mapping[str, object]) -> str:
    names = list(names)
    return ", ".join(map(str, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
