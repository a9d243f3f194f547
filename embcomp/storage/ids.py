"""Ids of rows as files hold them: bytes, objects, byte order marks, blank lines; each id once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.errors import StoreError
from embcomp.storage.imposters import head_of, imposter

SHOWN = 5  # rows, or ids, named
MISSING = ("", "nan", "None", "<NA>", "NaT")


def clean_ids(values: Iterable[Any], where: str) -> list[str]:
    """Ids as text, each once.

    Parameters
    ----------
    values : iterable
        Texts, bytes in UTF-8, or whole numbers.
    where : str
        What they are of, for messages.

    Raises
    ------
    StoreError
        An id is missing or occurs twice; the rows, counted from 0, are named.

    Examples
    --------
    >>> clean_ids([b"a.wav", "b.wav", 7], "e.npz")
    ['a.wav', 'b.wav', '7']
    """
    # numpy would make texts of bytes and of numbers beside texts.
    array = values if isinstance(values, np.ndarray) else np.array(list(values), dtype=object)
    if array.ndim == 2 and 1 in array.shape:
        array = array.ravel()
    if array.ndim != 1:
        raise StoreError(f"{where}: ids have shape {array.shape}; expected one a row")
    ids = [_text(value, where) for value in array.tolist()]
    if ids:
        ids[0] = ids[0].removeprefix("\ufeff")
    blank = [row for row, name in enumerate(ids) if name.strip() in MISSING]
    if blank:
        raise StoreError(f"{where}: {len(blank)} of {len(ids)} rows have no id: {_rows(blank)}")
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows_of.setdefault(name, []).append(row)
    twice = {name: rows for name, rows in rows_of.items() if len(rows) > 1}
    if twice:
        named = "; ".join(f"{name!r} in {_rows(rows)}" for name, rows in list(twice.items())[:SHOWN])
        more = f"; and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        count = "1 id occurs" if len(twice) == 1 else f"{len(twice)} ids occur"
        raise StoreError(f"{where}: {count} more than once: {named}{more}. Keep one row of each")
    return ids


def ids_of_rows(
    own: list[str] | None, names: Sequence[str] | None, data: np.ndarray, path: Path, what: str
) -> list[str]:
    """One id for each row of a file: its own, else `names` in order, else the rows' numbers from 0 on.

    Parameters
    ----------
    data : ndarray of shape (n, ...)
    what : str
        What the rows are, for messages.

    Raises
    ------
    StoreError
        There are more or fewer ids than rows.
    """
    ids = own
    if ids is None:
        ids = list(names) if names is not None else [str(row) for row in range(len(data))]
        if len(ids) != len(data):
            mend = f"put the ids in {path.with_suffix('.ids.txt').name}" if path.suffix == ".npy" else "add the ids"
            raise StoreError(f"{path} holds {len(data)} rows, the manifest {len(ids)}; {mend}")
    if len(ids) != len(data):
        raise StoreError(f"{path}: {what} of shape {data.shape} do not fit {len(ids)} ids")
    return ids


def read_ids(path: Path) -> list[str]:
    """Ids from a text file, one a line; blank lines at the end do not count.

    Raises
    ------
    StoreError
        It is not UTF-8 text, or an id is missing or occurs twice.
    """
    if path.exists() and not path.is_file():  # a pipe has no end
        raise StoreError(f"cannot read {path}: not a regular file")
    other = imposter(head_of(path))
    if other:
        raise StoreError(f"{path} holds no ids: it {other}")
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise StoreError(
            f"{path} is not UTF-8 (byte {error.start}){' but UTF-16' if wide else ''}; save it as UTF-8, or: "
            f"iconv -f {'utf-16' if wide else 'cp1252'} -t utf-8"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    return clean_ids(lines, str(path))


def spelled_otherwise(row_of: Mapping[str, int], asked: Iterable[str]) -> dict[str, int]:
    """Rows of those of `asked` that are only there in another spelling.

    Another spelling is one with backslashes for slashes, as Windows writes paths, with ``./`` before it, with blanks
    around it, or with letters in another form of Unicode, as macOS names files. Where two ids differ by no more than
    that, neither is taken for the other.

    Examples
    --------
    >>> spelled_otherwise({".\\\\x\\\\a.wav": 0, "b.wav": 1}, ["x/a.wav", "b.wav"])
    {'x/a.wav': 0}
    """
    asked = [name for name in asked if name not in row_of]
    if not asked:
        return {}
    found: dict[str, int] = {}
    several: set[str] = set()
    for name, row in row_of.items():
        form = spelling(name)
        several |= {form} & found.keys()
        found[form] = row
    return {name: found[spelling(name)] for name in asked if spelling(name) in found.keys() - several}


def spelling(name: str) -> str:
    """An id without what `spelled_otherwise` overlooks."""
    text = unicodedata.normalize("NFC", name).strip().replace("\\", "/")
    return re.sub(r"^(\./+)+", "", text)


def _text(value: Any, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise StoreError(f"{where}: the id {value!r} is not UTF-8") from None
    return str(value)


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:SHOWN]))
    return f"row{'s' if len(rows) > 1 else ''} {shown}" + (
        f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    )
