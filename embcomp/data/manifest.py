"""The manifest: a CSV that names clips, their labels, and what must not be split."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.data.columns import MEANINGS, Columns, assign, refuse_doubled
from embcomp.data.reading import Cells, read_cells
from embcomp.data.slips import numbered, slips, unicode_form
from embcomp.errors import ConfigError, EmbcompWarning, ManifestError, counted, nearest
from embcomp.storage.content import part_key
from embcomp.storage.places import is_url, join, named, path_of, url_of

COLUMNS = tuple(MEANINGS)


@dataclass(frozen=True)
class Manifest:
    """Clips in the order of a CSV.

    Columns ``path`` and ``label`` are needed; ``group`` (what must not be split
    between train and test), ``split``, ``dataset``, ``start`` and ``end``
    (seconds) are optional. Names that mean the same are taken, too, see
    `embcomp.data.columns`. Several labels are joined by ``|``; ``?label`` says
    that it is unknown whether the label applies; an empty cell is a clip without
    a label. A clip without a group shares that of the other clips of its file,
    or is alone.

    Attributes
    ----------
    table : DataFrame
        The columns above; ``id``; ``given``, whether the CSV gives the group; and ``row``, the line in the file (the
        header is 1).
    folder : Path
        Where relative paths start.
    allow_outside : bool
        Whether audio may lie outside `folder`; see `leads_out`.
    group_column : str
        The column that was asked to be the group; empty where none was.
    notes : tuple of str
        What the reader of a score must know: columns taken under another name, columns not used, labels that look
        like a slip, clips without a group. They are warnings, too.

    Examples
    --------
    >>> manifest = Manifest.read("data/manifest.csv")   # doctest: +SKIP
    >>> manifest.groups[:2]                             # doctest: +SKIP
    array(['george', 'george'], dtype=object)
    """

    table: pd.DataFrame
    folder: Path
    allow_outside: bool = False
    group_column: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        allow_outside: bool = False,
        group_column: str = "",
        group_column_needed: bool = True,
    ) -> Manifest:
        """Read and validate a manifest: a CSV in UTF-8 with commas, semicolons or tabs.

        Parameters
        ----------
        path : path or URL
            Paths in it are relative to it, or URLs.
        allow_outside : bool, default=False
            Use audio outside the manifest's folder too. A manifest from somebody else could otherwise
            name any file of this machine.
        group_column : str, optional
            The column that holds the group, where its name does not say so or several do.
        group_column_needed : bool, default=True
            Refuse a manifest without it. Otherwise the group is found as if none had been asked for.

        Raises
        ------
        ManifestError
            No such file, not a CSV in UTF-8, a needed column is missing, two columns may mean the group, an empty
            path, an interval that is not one, or two rows for the same clip.

        Warns
        -----
        EmbcompWarning
            Each of `notes`.
        """
        path = path_of(path)
        cells = read_cells(path)
        if group_column not in cells.table and not group_column_needed:
            group_column = ""
        table, columns = _used(cells, path, group_column)
        manifest = cls._validated(table, path, allow_outside, group_column, columns, cells.separator)
        for note in manifest.notes:
            warnings.warn(note, EmbcompWarning, stacklevel=2)
        return manifest

    @classmethod
    def _validated(
        cls,
        table: pd.DataFrame,
        path: Path,
        allow_outside: bool,
        group_column: str,
        columns: Columns,
        separator: str,
    ) -> Manifest:
        notes = list(columns.notes)
        for name in COLUMNS:
            if name not in table:
                table[name] = ""
        table = table[[*COLUMNS, "row"]].reset_index(drop=True)
        for name in ("path", "label", "group", "split", "dataset"):
            table[name] = table[name].str.strip()
        for name in ("label", "group", "split", "dataset"):
            table[name] = table[name].map(unicode_form)
        _refuse(path, table, table["path"] == "", "the path is empty")
        _refuse_urls(path, table)
        slashed = _slashed(table["path"], path.parent)
        if changed := int((slashed != table["path"]).sum()):
            notes.append(f"{path.name}: {counted(changed, 'path')} with backslashes, read as /")
            table["path"] = slashed
        for name in ("start", "end"):
            text = table[name].str.replace(",", ".", regex=False) if separator != "," else table[name]
            seconds = pd.to_numeric(text.replace("", "nan"), errors="coerce")
            _refuse(path, table, seconds.isna() & (table[name] != ""), f"{name} is not a number of seconds")
            _refuse(path, table, np.isinf(seconds) | (seconds < 0), f"{name} is not a time in the file")
            table[name] = seconds.astype(float)
        _refuse(path, table, table["end"] <= table["start"].fillna(0.0), "end is not after start")
        table["id"] = _ids(table)
        _refuse(
            path,
            table,
            table["id"].duplicated(),
            "the clip is named twice; keep one row (several labels go in one cell, joined by |)"
            + _times(path, columns),
        )
        for name in ("label", "group", "split"):
            notes += [f"{path.name}, {slip}" for slip in slips(table[name], table["row"], name)]
        table["given"] = table["group"] != ""
        table["group"] = _with_file(table)
        name = path.parent.resolve().name if path.stem == "manifest" else path.stem
        table.loc[table["dataset"] == "", "dataset"] = unicode_form(name)
        manifest = cls(table, path.parent, allow_outside, group_column)
        if without := manifest.ungrouped:
            notes.append(_about_groups(path.name, manifest, without))
        return replace(manifest, notes=tuple(notes))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """The path of each clip, with ``#start-end`` where it is a part of a file."""
        return self.table["id"].tolist()

    @property
    def groups(self) -> np.ndarray:
        """Group of each clip, shape (n,)."""
        return self.table["group"].to_numpy(object)

    @property
    def ungrouped(self) -> int:
        """How many clips the CSV gives no group."""
        return int((~self.table["given"]).sum())

    @property
    def unit(self) -> str:
        """What groups are made of: ``group`` where any is given, else ``file`` where one holds several clips, else ``clip``."""
        if self.table["given"].any():
            return "group"
        return "file" if _has_times(self.table) or self.table["group"].duplicated().any() else "clip"

    @property
    def unseen(self) -> str:
        """What a test on held-out groups is on, after the word unseen: ``groups``, or that none are given."""
        if self.unit != "group":
            return f"{self.unit}s; no groups given"
        return f"groups; {self.ungrouped} of {len(self)} clips have none" if self.ungrouped else "groups"

    @property
    def splits(self) -> np.ndarray:
        """Split of each clip as written, shape (n,)."""
        return self.table["split"].to_numpy(object)

    @property
    def labels(self) -> list[str]:
        """Label cells as written; `embcomp.data.labels.encode` turns them into numbers."""
        return self.table["label"].tolist()

    @property
    def name(self) -> str:
        """The data set's name, several joined by ``+``."""
        return "+".join(dict.fromkeys(self.table["dataset"]))

    def audio_path(self, index: int) -> Path:
        """Where the audio of clip `index` lies."""
        name = self._paths[index]
        path = join(self.folder, name)
        if name.isascii() or url_of(path) or path.exists():
            return path
        # Disks from a Mac hold letters and their accents apart, where a table has them in one; or the other way.
        forms = (self.folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        return next((other for other in forms if other.exists()), path)

    def leads_out(self, index: int) -> bool:
        """Whether the audio of clip `index` lies outside the manifest's folder, links followed, and may not."""
        if self.allow_outside:
            return False
        path = os.fspath(self.audio_path(index))
        if os.path.islink(path):
            return self._is_outside(path)
        # Of the files of a folder the way there is followed once: it takes a look at each of its parts.
        folder = os.path.dirname(path)
        if folder not in self._outside:
            self._outside[folder] = self._is_outside(folder)
        return self._outside[folder]

    def _is_outside(self, path: str) -> bool:
        return os.path.commonpath([self._real_folder, os.path.realpath(path)]) != self._real_folder

    def interval(self, index: int) -> tuple[float | None, float | None]:
        """Start and end of clip `index` in its file, seconds; None is the file's own."""
        return self._intervals[index]

    # What is asked for at every clip, as lists: a cell of a table takes as long to find as a short clip to read.

    @cached_property
    def _paths(self) -> list[str]:
        return self.table["path"].tolist()

    @cached_property
    def _intervals(self) -> list[tuple[float | None, float | None]]:
        if not _has_times(self.table):
            return [(None, None)] * len(self)
        ends = (
            [None if np.isnan(value) else value for value in self.table[name].tolist()] for name in ("start", "end")
        )
        return list(zip(*ends, strict=True))

    @cached_property
    def _real_folder(self) -> str:
        return os.path.realpath(self.folder)

    @cached_property
    def _outside(self) -> dict[str, bool]:
        return {}

    def select(self, rows: Sequence[int] | np.ndarray) -> Manifest:
        """The clips `rows` (numbers or a mask), in that order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(self, table=self.table.iloc[rows].reset_index(drop=True))

    def with_splits(self, names: Sequence[str]) -> Manifest:
        """The clips with one of `names` in the column split; all clips if `names` is empty.

        Raises
        ------
        ManifestError
            No clip has one of the names.
        """
        if not names:
            return self
        known = sorted(set(self.splits))
        for name in names:
            if name not in known:
                raise ManifestError(f"no clip of {self.folder} has the split {name!r}; {nearest(name, known)}")
        return self.select(np.isin(self.splits, list(names)))


def _has_times(table: pd.DataFrame) -> bool:
    """Whether any row is a part of its file."""
    return bool(table["start"].notna().any() or table["end"].notna().any())


def _ids(table: pd.DataFrame) -> list[str]:
    if not _has_times(table):
        return table["path"].tolist()
    ends = ([None if np.isnan(value) else value for value in table[name]] for name in ("start", "end"))
    return [part_key(*place) for place in zip(table["path"], *ends)]


def _used(cells: Cells, path: Path, group_column: str) -> tuple[pd.DataFrame, Columns]:
    """The columns that are used, by their meanings, with ``row``; and what is said of the others."""
    table = cells.table
    blank = (table == "").all(axis=1).to_numpy()
    table, rows = table[~blank], cells.rows[~blank]
    names = list(table.columns)
    refuse_doubled(names, path, group_column)
    table = table.loc[:, ~table.columns.duplicated()]
    columns = assign({name: table[name].tolist() for name in table}, path.name, group_column)
    for needed in ("path", "label"):
        if needed not in columns.source:
            raise ManifestError(
                f"{path} has no column {needed!r}; {nearest(needed, names).replace('One of', 'found')}. "
                f"`embcomp manifest table {shlex.quote(str(path))}` makes a manifest of a table with other names or separators"
            )
    if table.empty:
        raise ManifestError(f"{path} names no clip")
    return pd.DataFrame({meaning: table[name] for meaning, name in columns.source.items()}).assign(row=rows), columns


def _times(path: Path, columns: Columns) -> str:
    """A word on columns that may say which part of a file a row is, and are not used."""
    found = [
        name for name in columns.unused if re.search("start|begin|onset|offset|end|duration|length|time", name.lower())
    ]
    if not found:
        return ""
    return f". If {' and '.join(found)} are times, `embcomp manifest table {shlex.quote(str(path))}` may know what they mean"


def _slashed(paths: pd.Series, folder: Path) -> pd.Series:
    """Paths with / where they are written with backslashes, which a name may hold outside of Windows."""

    def one(path: str) -> str:
        if "\\" not in path or (os.sep == "/" and os.path.lexists(folder / path)):
            return path
        return path.replace("\\", "/")

    return paths.map(one)


def _with_file(table: pd.DataFrame) -> pd.Series:
    """The group of each clip; one without shares that of its file, which is the file itself if it has none, or several."""
    given = table["given"]
    if given.all():
        return table["group"]
    files = table["path"].map(posixpath.normpath)
    only: dict[str, str] = {}  # "" where a file has several
    for file, group in zip(files[given], table["group"][given]):
        only[file] = group if only.get(file, group) == group else ""
    first = dict(zip(files[::-1], table["path"][::-1]))
    return table["group"].where(given, files.map(lambda file: only.get(file) or first[file]))


def _about_groups(name: str, manifest: Manifest, without: int) -> str:
    advice = "where clips share a speaker, a machine or a recording, name that column (--group-column)"
    if manifest.unit == "group":
        rows = manifest.table.loc[~manifest.table["given"], "row"].tolist()
        return (
            f"{name}, {numbered(rows)}: {without} of {len(manifest)} clips have no group; each counts as one of its own"
        )
    each = "the clips of one file are one group" if manifest.unit == "file" else "each clip is a group of its own"
    return f"{name}: no groups given, so {each}; {advice}"


def _refuse_urls(path: Path, table: pd.DataFrame) -> None:
    """Refuse URLs that cannot be opened, or hold a password, before any is written down."""
    for name, row in zip(table["path"], table["row"]):
        if is_url(name):
            try:
                path_of(name)
            except ConfigError as error:
                raise ManifestError(f"{named(path)}, row {row}: {error}") from None


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, reason: str) -> None:
    if wrong.any():
        raise ManifestError(f"{path}, {numbered(table.loc[wrong, 'row'].tolist())}: {reason}")
