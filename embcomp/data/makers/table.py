"""A table of clips: CSV, Excel, Parquet, JSON Lines, with columns of any name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from embcomp.data.columns import assign
from embcomp.data.makers.base import Clip, Found, Maker, option
from embcomp.data.sounds import SUFFIXES, audio_files
from embcomp.data.tables import EXCEL, JSON, PARQUET, TEXT, Cells, read_table
from embcomp.errors import ManifestError, nearest

MEANINGS = ("path", "label", "group", "split", "dataset", "start", "end", "duration")
YES = {"1", "true", "yes", "y", "x", "t"}
NO = {"0", "false", "no", "n", "", "f", "-1"}


@dataclass(frozen=True)
class TableSettings:
    """How the table is read, and what its columns mean."""

    column: tuple[str, ...] = option(
        (), "What a column means, where its name does not say: path=filename.", metavar="MEANING=NAME"
    )
    tag: tuple[str, ...] = option((), "A column of 0 and 1 that says whether this label applies.", metavar="NAME")
    separator: str = option("", "What parts several labels in one cell; | always does.", metavar="TEXT")
    audio: str = option("", "Folder of the audio, where it is not the table's.", metavar="DIR")
    delimiter: str = option("", "Between cells: comma, tab, semicolon, pipe.  [default: found out]", metavar="NAME")
    sheet: str = option("", "Of an Excel file.  [default: the first]", metavar="NAME")


class Table(Maker):
    """One row a clip, or one row a selection in a recording where start and end are given."""

    name = "table"
    summary = "A table: CSV, TSV, Excel, Parquet or JSON Lines, whatever its columns are called."
    source = "FILE"
    Settings = TableSettings

    def recognises(self, path: Path) -> bool:
        """By its ending."""
        return path.is_file() and path.suffix.lower() in (*TEXT, *EXCEL, *PARQUET, *JSON)

    def find(self, sources: Sequence[Path], settings: TableSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        cells, notes = read_table(sources[0], delimiter=settings.delimiter, sheet=settings.sheet)
        home = Path(settings.audio) if settings.audio else sources[0].parent
        return clips_of(cells, sources[0], home, settings, notes)


def clips_of(cells: Cells, table: Path, home: Path, settings: Any, notes: list[str], numbered: bool = False) -> Found:
    """Clips of a table that has been read.

    Parameters
    ----------
    cells : dict of str to list of str
    table : Path
        For messages.
    home : Path
        Where relative paths start.
    settings : TableSettings
    notes : list of str
        Said already.
    numbered : bool, default=False
        Paths are row numbers, to be replaced by the caller, and are not looked for.

    Raises
    ------
    ManifestError
        A column is missing or could be one of two, a time is not a number, or no file is there.
    """
    columns, said = _columns(cells, table, settings)
    notes = [*notes, *said]
    count = len(next(iter(cells.values())))

    def column(meaning: str) -> list[str]:
        return [cell.strip() for cell in cells[columns[meaning]]] if meaning in columns else [""] * count

    files: list[Path | None] = [Path(name) for name in column("path")] if numbered else []
    missing: list[tuple[str, str]] = []
    if not numbered:
        files, missing, said = locate(column("path"), home)
        notes += said
    labels = _labels(cells, column("label"), settings, table)
    start, end = _seconds(column("start"), "start", table), _seconds(column("end"), "end", table)
    for row, length in enumerate(_seconds(column("duration"), "duration", table)):
        if length is not None and end[row] is None and "end" not in columns and "start" in columns:
            end[row] = (start[row] or 0.0) + length
    for row, (first, last) in enumerate(zip(start, end)):
        if last is not None and last < (first or 0.0):
            raise ManifestError(f"{table}, row {row + 2}: the end, {last:g} s, lies before the start, {first or 0:g} s")
    rows = zip(files, labels, column("group"), column("split"), start, end)
    clips = [Clip(path, *about) for path, *about in rows if path is not None]
    names = set(column("dataset")) - {""}
    parts = any(clip.end is not None for clip in clips)
    return Found(clips, home, notes, names.pop() if len(names) == 1 else "", selections=parts, left_out=missing)


def _columns(cells: Cells, table: Path, settings: Any) -> tuple[dict[str, str], list[str]]:
    """From meaning to column: as given with --column, otherwise by name."""
    given: dict[str, str] = {}
    for text in settings.column:
        meaning, equals, name = (part.strip() for part in text.partition("="))
        if not equals or meaning not in MEANINGS:
            raise ManifestError(f"--column takes MEANING=NAME, not {text!r}; {nearest(meaning, MEANINGS)}")
        if name not in cells:
            raise ManifestError(f"{table} has no column {name!r}; {nearest(name, cells)}")
        given[meaning] = name
    for name in settings.tag:
        if name not in cells:
            raise ManifestError(f"{table} has no column {name!r} for --tag; {nearest(name, cells)}")
    open_columns = {name: values for name, values in cells.items() if name not in {*given.values(), *settings.tag}}
    # The column of a given meaning is not searched for.
    stand_in = {meaning: ["-"] * len(next(iter(cells.values()))) for meaning in given if meaning != "duration"}
    lower = {name.casefold().replace("_", "").replace(" ", ""): name for name in open_columns}
    length = next(
        (lower[name] for name in ("duration", "durations", "durationsec", "length", "lengths") if name in lower), None
    )
    if length and "end" not in given and "duration" not in given:
        given["duration"] = length
        if "start" not in given and "offset" in lower:  # offset and duration are a start and a length
            given["start"] = lower["offset"]
            stand_in["start"] = ["-"] * len(open_columns[length])
        open_columns = {name: values for name, values in open_columns.items() if name not in given.values()}
    kept_back = {name: values for name, values in open_columns.items() if name not in stand_in}
    try:
        found = assign({**stand_in, **kept_back}, table.name)
    except ManifestError as error:
        raise ManifestError(_our_option(str(error))) from None
    columns = {meaning: name for meaning, name in found.source.items() if meaning not in stand_in} | given
    if "end" in columns or "start" not in columns:
        columns.pop("duration", None)
    if "path" not in columns:
        raise ManifestError(
            f"{table} has no column that names the files (found: {', '.join(cells)}); say which with --column path=NAME"
        )
    if "label" not in columns and not settings.tag:
        raise ManifestError(
            f"{table} has no column that is known to hold labels (found: {', '.join(cells)}); say which with --column label=NAME"
        )
    return columns, [_our_option(note) for note in found.notes]


def _our_option(text: str) -> str:
    """Advice of `assign` in terms of ``--column``."""
    text = text.replace("--group-column NAME (data.group_column)", "--column group=NAME")
    return re.sub(r"rename the one you mean to '(\w+)'", r"say which with --column \1=NAME", text)


def _labels(cells: Cells, labels: list[str], settings: Any, table: Path) -> list[str]:
    found = [[part.strip() for part in cell.split("|")] for cell in labels]
    if settings.separator:
        found = [[part.strip() for one in parts for part in one.split(settings.separator)] for parts in found]
    cell_of = ["|".join(filter(None, parts)) or ("|" if "|" in cell else "") for parts, cell in zip(found, labels)]
    if not settings.tag:
        return cell_of
    for row in range(len(cell_of)):
        names = []
        for name in settings.tag:
            value = cells[name][row].strip().lower()
            if value not in YES | NO:
                raise ManifestError(f"{table}, row {row + 2}: {name} is {value!r}, and a --tag column holds 0 and 1")
            names += [name] if value in YES else [f"?{name}"] if value in ("", "-1") else []
        cell_of[row] = "|".join(filter(None, [cell_of[row], *names])) or "|"
    return cell_of


def _seconds(cells: list[str], what: str, table: Path) -> list[float | None]:
    found: list[float | None] = []
    for row, cell in enumerate(cells, 2):
        try:
            value = float(cell.replace(",", ".")) if cell else None
        except ValueError:
            raise ManifestError(f"{table}, row {row}: {what} is {cell!r}, not a number of seconds") from None
        if value is not None and not 0 <= value < float("inf"):
            raise ManifestError(f"{table}, row {row}: {what} is {cell!r}, not a time in a file")
        found.append(value)
    return found


def locate(names: Sequence[str], home: Path) -> tuple[list[Path | None], list[tuple[str, str]], list[str]]:
    """Files that a table's paths mean on this machine.

    A path is used as written, relative to `home`. What is not there is looked for with ``\\`` for ``/``, with an
    audio ending where it has none, and by as much of its end as lies below `home`: tables keep the folders of
    the machine they were made on.

    Returns
    -------
    files : list of Path or None
    missing : list of (str, str)
        Paths without a file, and the reason.
    notes : list of str

    Raises
    ------
    ManifestError
        Not one is there, or a name fits several files.
    """
    known: dict[str, Path | None] = {}
    missing: list[tuple[str, str]] = []
    searched: list[str] = []
    tails: dict[str, list[Path]] | None = None
    for name in dict.fromkeys(names):
        path = _as_written(name, home)
        if path is None and name:
            if tails is None:
                tails = _by_name(home)
            path = _by_tail(name, home, tails)
            searched += [name] if path is not None else []
        known[name] = path
        if path is None:
            missing.append((name or "(empty path)", "no such file"))
    if missing and len(missing) == len(known):
        raise ManifestError(
            f"not one of the {len(known)} files is there: {missing[0][0]!r} is not in {home} or below; say where the audio "
            "lies with --audio DIR"
        )
    notes = [f"{len(searched)} paths are found by their end, {searched[0]!r} first"] if searched else []
    return [known[name] for name in names], missing, notes


def _as_written(name: str, home: Path) -> Path | None:
    try:
        for text in (name, name.replace("\\", "/")):
            if text and (home / text).is_file():
                return home / text
        return next((path for ending in SUFFIXES if name and (path := home / (name + ending)).is_file()), None)
    except (OSError, ValueError):
        return None


def _by_name(home: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in audio_files(home) if home.is_dir() else []:
        found.setdefault(path.name, []).append(path)
        found.setdefault(path.stem, []).append(path)
    return found


def _by_tail(name: str, home: Path, tails: dict[str, list[Path]]) -> Path | None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    fitting = list(dict.fromkeys(tails.get(parts[-1], []) if parts else []))
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    shared = {path: _common_end(parts[:-1], path.relative_to(home).parts[:-1]) for path in fitting}
    best = [path for path in fitting if shared[path] == max(shared.values())]
    if len(best) > 1:
        raise ManifestError(
            f"{name!r} may be {best[0].relative_to(home)} or {best[1].relative_to(home)}; give --audio DIR, or more of the path"
        )
    return best[0]


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count
