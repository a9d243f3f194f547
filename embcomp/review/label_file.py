"""The manifest that labels are written into, one line a clip, each on disk before the next is asked for."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from embcomp.data.columns import assign, refuse_doubled
from embcomp.data.manifest import Manifest
from embcomp.data.reading import read_cells
from embcomp.errors import EmbcompError, EmbcompWarning, ManifestError, why
from embcomp.review.keys import clip_key, clip_keys
from embcomp.storage.files import sync, write_bytes

NEEDED = ("path", "label")


class Changed(EmbcompError):
    """Another program has changed the file meanwhile; nothing was written."""


@dataclass(frozen=True)
class Line:
    """A clip of a list, as it goes into the manifest.

    Attributes
    ----------
    path : Path
        Of the audio.
    start, end : float or None
        Seconds.
    group : str
        Empty where none is given.
    """

    path: Path
    start: float | None = None
    end: float | None = None
    group: str = ""

    @cached_property
    def key(self) -> str:
        """The same for the same clip in every manifest, see `embcomp.review.keys`."""
        return clip_key(self.path, self.start, self.end)


@dataclass
class LabelFile:
    """A manifest that grows by a label at a time. Whatever else is in it stays, byte by byte.

    Each change writes the file anew under another name, which then takes its place: whenever the process is killed,
    the file holds all labels given before, whole.

    Attributes
    ----------
    path : Path
    labels : dict of str to str
        The label cell of every clip in it that has one, by the clip's key.
    """

    path: Path
    labels: dict[str, str] = field(default_factory=dict)
    _records: list[str] = field(default_factory=list)
    _keys: dict[str, int] = field(default_factory=dict)  # key of a clip to its record
    _columns: dict[str, str] = field(default_factory=dict)  # meaning to name
    _names: tuple[str, ...] = ()
    _separator: str = ","
    _end: str = "\n"
    _on_disk: bytes | None = None

    @classmethod
    def open(cls, path: str | os.PathLike, parts: bool, groups: bool, allow_outside: bool = False) -> LabelFile:
        """Read the manifest, or start one.

        Parameters
        ----------
        parts, groups : bool
            Whether clips that are parts of files, or have a group, are going to be written.

        Raises
        ------
        ManifestError
            It is no manifest, or has no columns for the times of clips.

        Warns
        -----
        EmbcompWarning
            It has no column for groups.
        """
        path = Path(os.path.realpath(path))  # a link stays one
        try:
            started = os.path.lexists(path) and (not path.is_file() or path.stat().st_size > 0)
        except OSError as error:
            raise ManifestError(f"cannot read {path}: {why(error)}") from None
        if not started:
            names = ("path", *(("start", "end") if parts else ()), "label", *(("group",) if groups else ()))
            return cls(path, {}, [], {}, {name: name for name in names}, names)
        cells = read_cells(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EmbcompWarning)
            manifest = Manifest.read(path, allow_outside) if len(cells.table) else None
        names = tuple(cells.table.columns)
        refuse_doubled(names, path)
        table = cells.table.loc[:, ~cells.table.columns.duplicated()]
        source = assign({name: table[name].tolist() for name in table}, path.name).source
        for name in NEEDED:
            if name not in source:
                raise ManifestError(f"{path} has no column {name!r} (found: {', '.join(names)}); choose another file")
        if parts and not {"start", "end"} <= set(source):
            raise ManifestError(f"{path} has no columns start and end for clips that are parts of files; add them")
        if groups and "group" not in source:
            said = f"{path.name} has no column for the groups of the list's clips, which are not written"
            warnings.warn(said, EmbcompWarning, stacklevel=2)
        content = path.read_bytes()
        try:
            records = _records(content.decode("utf-8"), cells.separator)
        except csv.Error as error:
            raise ManifestError(f"cannot read {path} as CSV: {error}") from None
        found = cls(path, {}, records, {}, source, names, cells.separator, _line_end(records[0]), content)
        if manifest is not None:
            first_lines = _first_lines(records)
            for key, row, label in zip(clip_keys(manifest), manifest.table["row"].tolist(), manifest.labels):
                found._keys[key] = first_lines[row]
                if label:
                    found.labels[key] = label
        return found

    def add(self, line: Line, label: str) -> None:
        """Write a label: into a line of its own, or into the empty cell of the clip's own line.

        Raises
        ------
        Changed
            Another program has changed the file.
        EmbcompError
            It cannot be written; it is as it was.
        """
        number = self._keys.get(line.key)
        records = list(self._records)
        if number is not None:
            records[number] = self._relabelled(records[number], label)
        else:
            if not records:
                records.append(self._written(list(self._names)))
            if not records[-1].endswith(("\n", "\r")):
                records[-1] += self._end
            number = len(records)
            records.append(self._written(self._row(line, label)))
        self._write(records)
        self._keys[line.key], self.labels[line.key] = number, label

    def take_back(self, line: Line, before: str | None) -> None:
        """Undo `add`: remove the clip's line, which is the last, or put what its line was before in its place.

        Parameters
        ----------
        before : str or None
            What `record` gave before `add`.
        """
        number = self._keys[line.key]
        records = list(self._records)
        if before is None:
            if number != len(records) - 1:
                raise Changed(f"the line of this clip is not the last of {self.path.name}; change it there")
            del records[number]
        else:
            records[number] = before
        self._write(records)
        del self.labels[line.key]
        if before is None:
            del self._keys[line.key]

    def record(self, key: str) -> str | None:
        """The line of a clip as it is written; None where there is none."""
        number = self._keys.get(key)
        return None if number is None else self._records[number]

    def without_label(self, line: Line) -> str | None:
        """What a labelled clip's line was before: None where `add` would write it as it is, else the line without its label."""
        record, label = self._records[self._keys[line.key]], self.labels[line.key]
        if record.rstrip("\r\n") == self._written(self._row(line, label), ""):
            return None
        return self._relabelled(record, "")

    def last(self) -> str | None:
        """Key of the clip on the last line."""
        return next((key for key, number in self._keys.items() if number == len(self._records) - 1), None)

    def _row(self, line: Line, label: str) -> list[str]:
        place = Path(os.path.relpath(line.path, self.path.parent)).as_posix()
        times = {"start": line.start, "end": line.end}
        cells = {"path": place, "label": label, "group": line.group}
        cells |= {name: "" if value is None else f"{value:.12g}" for name, value in times.items()}
        meanings = {name: meaning for meaning, name in self._columns.items()}
        return [cells.get(meanings.get(name, ""), "") for name in self._names]

    def _relabelled(self, record: str, label: str) -> str:
        row = next(csv.reader(io.StringIO(record, newline=""), delimiter=self._separator))
        row += [""] * (len(self._names) - len(row))
        row[self._names.index(self._columns["label"])] = label
        return self._written(row, _line_end(record))

    def _written(self, row: list[str], end: str | None = None) -> str:
        text = io.StringIO()
        end = self._end if end is None else end
        csv.writer(text, delimiter=self._separator, lineterminator=end).writerow(row)
        return text.getvalue()

    def _write(self, records: list[str]) -> None:
        try:
            now = self.path.read_bytes() if self.path.exists() else None
            mode = stat.S_IMODE(self.path.stat().st_mode) if now is not None else None
        except OSError as error:
            raise EmbcompError(f"cannot read {self.path}: {why(error)}") from None
        if now != self._on_disk and (now or self._on_disk):
            raise Changed(
                f"{self.path.name} was changed by another program; nothing was written: start embcomp review again"
            )
        content = "".join(records).encode("utf-8")
        write_bytes(self.path, content)
        sync(self.path.parent)
        if mode is not None:
            os.chmod(self.path, mode)
        self._records, self._on_disk = records, content


def _records(text: str, separator: str) -> list[str]:
    """The lines of a CSV, of which one may hold line breaks in quotes; a byte order mark and Excel's first line go with the header."""
    lines = list(io.StringIO(text, newline=""))
    found, begin = [], 0
    head = ""
    if re.match(r'﻿?"?sep=.', text):
        head, lines = lines[0], lines[1:]
    reader = csv.reader(lines, delimiter=separator)
    for _ in reader:
        found.append("".join(lines[begin : reader.line_num]))
        begin = reader.line_num
    found[0] = head + found[0]
    return found


def _first_lines(records: list[str]) -> dict[int, int]:
    """From the line of the file, the first being 1, on which a record starts to its number."""
    found, line = {}, 1
    for number, record in enumerate(records):
        found[line] = number
        line += len(list(io.StringIO(record, newline="")))
    return found


def _line_end(record: str) -> str:
    return re.search(r"(\r\n|\n|\r)?\Z", record)[0]
