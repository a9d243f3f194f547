"""Tables of text as people's programs write them: separators, encodings, and what is no table at all."""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.data.columns import MEANING_OF, simplified
from embcomp.errors import ManifestError
from embcomp.storage.bringing import here
from embcomp.storage.imposters import HEAD, imposter

SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True)
class Cells:
    """The cells of a CSV.

    Attributes
    ----------
    table : DataFrame of str
        Its columns are named by the header; a name may occur twice.
    rows : ndarray of shape (n,), int64
        The line of the file on which each row starts, the first being 1.
    separator : str
        The delimiter between cells.
    """

    table: pd.DataFrame
    rows: np.ndarray
    separator: str


def read_cells(path: Path, what: str = "manifest") -> Cells:
    """Read a CSV whose separator is a comma, a semicolon or a tab, without guessing at types.

    Parameters
    ----------
    what : str
        What the file should be, for messages.

    Raises
    ------
    ManifestError
        No such file, a folder, no UTF-8, no table. The message says how to fix it.
    """
    text = read_text(path, what)
    if not text.strip():
        raise ManifestError(f"cannot read {path} as CSV: it is empty")
    directive = re.match(r'"?sep=(.)"?(\r\n|\n|\r)', text)  # Excel's
    if directive:
        separator, text = directive[1], text[directive.end() :]
    else:
        separator = _separator(re.split(r"[\r\n]", text, maxsplit=1)[0])
    try:
        # The header is read as a row: pandas would rename columns named twice, and take
        # the first column for row names where the rows are longer than the header.
        table = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False
        )
    except ValueError as error:
        said = str(error).strip()
        if uneven := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
            said = f"line {uneven[2]} has {uneven[3]} cells, the lines above it {uneven[1]}; quote cells that hold a separator"
        raise ManifestError(f"cannot read {path} as CSV: {said}") from None
    # Only in quotes can a cell hold a line break.
    rows = (_lines(table) if '"' in text else np.arange(1, len(table) + 1)) + bool(directive)
    names = [str(name).strip() for name in table.iloc[0]]
    table = table.iloc[1:]
    table.columns = names
    return Cells(table, rows[1:], separator)


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8; `read_cells` says what is refused."""
    path = here(path, fresh=True)
    if path.is_dir():
        raise ManifestError(_about_folder(path, what))
    try:
        if path.exists() and not path.is_file():  # a pipe or a device has no end
            raise OSError("not a regular file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"no {what} at {path}") from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"cannot read {path} as CSV: {getattr(error, 'strerror', None) or error}") from None
    other = imposter(content[:HEAD])
    if other or content.startswith(b"PAR1"):
        other = other or "is a Parquet file: `embcomp manifest table` makes a manifest of one"
        raise ManifestError(f"{path} is no {what}: it {other}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(_about_encoding(path, content, error.start)) from None


def _about_folder(path: Path, what: str) -> str:
    text = f"cannot read {path} as a {what}: it is a folder (a directory), not a CSV file"
    inside = sorted(path.glob("*.csv"))
    named = [one for one in inside if one.name == "manifest.csv"] or inside
    if len(named) == 1:
        return f"{text}; did you mean {named[0]}?"
    if what != "manifest":
        return text
    return f"{text}; `embcomp manifest folder {shlex.quote(str(path))}` makes one of a folder of audio"


def _about_encoding(path: Path, content: bytes, place: int) -> str:
    name = shlex.quote(path.name)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        return (
            f"{path} is not UTF-8 (byte {place}) but UTF-16; save it as UTF-8 (in Excel: CSV UTF-8), or: "
            f"iconv -f utf-16 -t utf-8 {name} > utf8.csv"
        )
    start = content.rfind(b"\n", 0, place) + 1
    line = content[start : content.find(b"\n", place) % (len(content) + 1)][:80]
    row = content.count(b"\n", 0, place) + 1
    return (
        f"{path} is not UTF-8 (byte {place}, row {row}); as Windows text (cp1252) that row reads "
        f"{line.decode('cp1252', errors='replace').strip()!r}. Save it as UTF-8 (in Excel: CSV UTF-8), or: "
        f"iconv -f cp1252 -t utf-8 {name} > utf8.csv"
    )


def _separator(header: str) -> str:
    """What parts the header into the most names that mean something, or if none does, into the most; else the comma."""

    def known(separator: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=separator), [])
        count = sum(simplified(name) in MEANING_OF for name in names)
        return count, 0 if count else len(names)

    try:
        return max(SEPARATORS, key=known)
    except csv.Error:
        return ","


def _lines(table: pd.DataFrame) -> np.ndarray:
    """The line on which each row of a CSV starts, the first being 1: a quoted cell may hold line breaks."""
    breaks = np.zeros(len(table), dtype=np.int64)
    for name in table:
        breaks += np.fromiter(map(_breaks, table[name]), dtype=np.int64, count=len(table))
    return np.arange(1, len(table) + 1) + np.cumsum(breaks) - breaks


def _breaks(cell: str) -> int:
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")
