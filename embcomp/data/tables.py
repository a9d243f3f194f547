"""Tables as people have them: CSV with any delimiter, Excel, Parquet, JSON Lines; cells come as text."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embcomp.errors import ManifestError, nearest
from embcomp.extras import imported
from embcomp.storage.expansion import refuse_parquet, refuse_zip
from embcomp.storage.parquet import import_pyarrow

EXCEL = (".xlsx", ".xlsm")
PARQUET = (".parquet", ".pq")
JSON = (".jsonl", ".ndjson", ".json")
TEXT = (".csv", ".tsv", ".txt", ".tab")
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
MAX_BYTES = 1 << 30  # of a table read whole

Cells = dict[str, list[str]]


def read_table(path: str | os.PathLike, *, delimiter: str = "", sheet: str = "") -> tuple[Cells, list[str]]:
    """Read a table whose first row names its columns.

    Parameters
    ----------
    path : path
        Its ending says what it is: ``.xlsx``, ``.parquet``, ``.jsonl`` or ``.json``; anything else is text.
    delimiter : str
        Between the cells of a text: comma, tab, semicolon, pipe, or the character; empty finds out.
    sheet : str
        Of an Excel file, by name; empty takes the first.

    Returns
    -------
    cells : dict of str to list of str
        Columns by name; a missing cell is empty.
    notes : list of str
        What was assumed.

    Raises
    ------
    ManifestError
        It cannot be read, has no row, or a column has no name or is there twice.
    MissingDependencyError
        Excel or Parquet files need a package that is not installed.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ManifestError(f"{path} is a folder, not a table" if path.is_dir() else f"no table at {path}")
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f"{path} is larger than {MAX_BYTES >> 20} MB: too large for a table of clips")
        ending = path.suffix.lower()
        if ending in EXCEL:
            names, rows, notes = _excel(path, sheet)
        elif ending in PARQUET:
            names, rows, notes = _parquet(path)
        elif ending in JSON:
            names, rows, notes = _json(path)
        elif ending == ".xls":
            raise ManifestError(f"{path} is an Excel file of before 2007; save it as .xlsx or CSV")
        else:
            names, rows, notes = _text(path, delimiter)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror or error}") from None
    names = [name.strip() for name in names]
    for name in names:
        if name and names.count(name) > 1:
            raise ManifestError(f"{path} has two columns {name!r}; keep one")
    if not rows:
        raise ManifestError(f"{path} has no row below its header")
    cells = {name: [row[place] for row in rows] for place, name in enumerate(names) if name}
    return cells, notes


def decode_text(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Text of a file in UTF-8, UTF-16 with its mark, or Windows-1252; the last is said."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), [f"{path.name} is read as UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            raise ManifestError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
        return text, [f"{path.name} is not UTF-8 and is read as Windows-1252; look whether accented letters are right"]


def _text(path: Path, delimiter: str) -> tuple[list[str], list[list[str]], list[str]]:
    text, notes = decode_text(path.read_bytes(), path)
    if "\0" in text:
        raise ManifestError(f"{path} is not a text; a table is CSV, Excel (.xlsx), Parquet or JSON Lines")
    mark = _delimiter(text, path, delimiter)
    if not delimiter and mark not in (",", "\t"):
        notes.append(f"{path.name}: cells are parted by {mark!r}")
    try:
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if any(map(str.strip, row))]
    except csv.Error as error:
        raise ManifestError(f"cannot read {path} as CSV: {error}") from None
    if not lines:
        raise ManifestError(f"{path} is empty")
    names = lines[0]
    for number, row in enumerate(lines[1:], 2):
        if len(row) > len(names) and any(map(str.strip, row[len(names) :])):
            raise ManifestError(
                f"{path}, line {number} or so, has {len(row)} cells where the header names {len(names)} columns: put "
                'cells that hold the delimiter in "quotes"'
            )
    return names, [[*row[: len(names)], *[""] * (len(names) - len(row))] for row in lines[1:]], notes


def _delimiter(text: str, path: Path, given: str) -> str:
    if given:
        mark = DELIMITERS.get(given.lower(), "\t" if given == "\\t" else given)
        if len(mark) != 1:
            raise ManifestError(f"unknown delimiter {given!r}: {nearest(given, DELIMITERS)}")
        return mark
    head = next((line for line in text.splitlines() if line.strip()), "")
    counts = {mark: _outside_quotes(head, mark) for mark in DELIMITERS.values()}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","


def _outside_quotes(line: str, mark: str) -> int:
    return sum(part.count(mark) for part in line.split('"')[::2])


def _excel(path: Path, sheet: str) -> tuple[list[str], list[list[str]], list[str]]:
    openpyxl = imported("openpyxl", "Excel files need", extra="tables", otherwise=", or save the sheet as CSV")
    refuse_zip(path, ManifestError)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zip and XML errors of many kinds
        raise ManifestError(f"cannot read {path} as Excel: {error}") from None
    try:
        if sheet and sheet not in book.sheetnames:
            raise ManifestError(f"{path} has no sheet {sheet!r}; {nearest(sheet, book.sheetnames)}")
        chosen = book[sheet] if sheet else book.worksheets[0]
        lines = [[cell_text(cell) for cell in row] for row in chosen.iter_rows(values_only=True)]
        more = [name for name in book.sheetnames if name != chosen.title]
    finally:
        book.close()
    lines = [row for row in lines if any(map(str.strip, row))]
    if not lines:
        raise ManifestError(
            f"{path}: the sheet {chosen.title!r} is empty" + (f"; others: {', '.join(more)} (--sheet)" if more else "")
        )
    notes = (
        [f"{path.name}: the sheet {chosen.title!r} is read; others: {', '.join(more)} (--sheet)"]
        if more and not sheet
        else []
    )
    return lines[0], lines[1:], notes


def _parquet(path: Path) -> tuple[list[str], list[list[str]], list[str]]:
    file = parquet_file(path)
    try:
        table = file.read()
        names = list(table.column_names)
        columns = [[cell_text(value) for value in table.column(name).to_pylist()] for name in names]
    except (import_pyarrow().ArrowException, ValueError) as error:  # its pages are damaged, not its description
        raise ManifestError(f"cannot read {path} as Parquet: {error}") from None
    return names, [list(row) for row in zip(*columns)], []


def parquet_file(path: Path) -> Any:
    """An opened Parquet file.

    Raises
    ------
    ManifestError
        It is damaged or something else.
    MissingDependencyError
        pyarrow is not installed.
    """
    pyarrow = import_pyarrow()
    try:
        file = pyarrow.parquet.ParquetFile(path)
        refuse_parquet(path, file.metadata, ManifestError)
        return file
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:  # the latter of a column's name
        raise ManifestError(f"cannot read {path} as Parquet: {error}") from None


def _json(path: Path) -> tuple[list[str], list[list[str]], list[str]]:
    text, notes = decode_text(path.read_bytes(), path)
    whole = text.lstrip().startswith("[")
    items: list[Any] = []
    for number, part in enumerate([text] if whole else text.splitlines(), 1):
        try:
            items += json.loads(part) if whole else [json.loads(part)] if part.strip() else []
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path}{'' if whole else f', line {number}'} is not JSON: {error}") from None
    if not all(isinstance(item, dict) for item in items):
        raise ManifestError(f"{path} must hold one JSON object a line, or a list of them")
    names = list(dict.fromkeys(str(key) for item in items for key in item))
    return names, [[cell_text(item.get(name)) for name in names] for item in items], notes


def cell_text(value: Any) -> str:
    """A cell as text: whole numbers without a point, a missing one empty, lists joined by ``|``.

    Examples
    --------
    >>> [cell_text(value) for value in (None, 3.0, 0.5, float("nan"), ["a", "b"], " x ")]
    ['', '3', '0.5', '', 'a|b', ' x ']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, (list, tuple)):
        return "|".join(_texts(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def _texts(values: Iterable[Any]) -> list[str]:
    return [text for value in values if (text := cell_text(value))]
