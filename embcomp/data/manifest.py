"""The manifest: a CSV that names clips, their labels, and what must not be split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.errors import ManifestError, nearest

COLUMNS = ("path", "label", "group", "split", "dataset", "start", "end")
ALIASES = {"speaker_or_group": "group", "fold_or_split": "split"}


@dataclass(frozen=True)
class Manifest:
    """Clips in the order of a CSV.

    Columns ``path`` and ``label`` are needed; ``group`` (what must not be split
    between train and test; each clip alone where there is none), ``split``,
    ``dataset``, ``start`` and ``end`` (seconds) are optional. Several labels
    are joined by ``|``; ``?label`` says that it is unknown whether the label
    applies; an empty cell is a clip without a label.

    Attributes
    ----------
    table : DataFrame
        The columns above and ``row``, the line in the file (the header is 1).
    folder : Path
        Where relative paths start.
    allow_outside : bool
        Whether audio may lie outside `folder`; see `leads_out`.

    Examples
    --------
    >>> manifest = Manifest.read("data/manifest.csv")   # doctest: +SKIP
    >>> manifest.groups[:2]                             # doctest: +SKIP
    array(['george', 'george'], dtype=object)
    """

    table: pd.DataFrame
    folder: Path
    allow_outside: bool = False

    @classmethod
    def read(cls, path: str | os.PathLike, allow_outside: bool = False) -> Manifest:
        """Read and validate a manifest.

        Parameters
        ----------
        path : path
        allow_outside : bool, default=False
            Use audio outside the manifest's folder too. A manifest from somebody else could otherwise
            name any file of this machine.

        Raises
        ------
        ManifestError
            No such file, not a CSV in UTF-8, a needed column is missing, an empty
            path, an interval that is not one, or two rows for the same clip.
        """
        path = Path(path)
        try:
            if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe or a device has no end
                raise OSError("not a regular file")
            # The header is read as a row: pandas would rename columns named twice, and take
            # the first column for row names where the rows are longer than the header.
            table = pd.read_csv(
                path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False
            )
        except FileNotFoundError:
            raise ManifestError(f"no manifest at {path}") from None
        except UnicodeDecodeError as error:
            raise ManifestError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
        except (OSError, ValueError) as error:
            raise ManifestError(f"cannot read {path} as CSV: {str(error).strip()}") from None
        rows = _lines(table)
        table.columns = [str(name).strip() for name in table.iloc[0]]
        table = table.iloc[1:]
        for name in (*COLUMNS, *ALIASES):
            if list(table.columns).count(name) > 1:
                raise ManifestError(f"{path} has two columns {name!r}; keep one")
        table = table.rename(columns={old: new for old, new in ALIASES.items() if old in table and new not in table})
        for needed in ("path", "label"):
            if needed not in table:
                raise ManifestError(
                    f"{path} has no column {needed!r} (found: {', '.join(table.columns)}); {nearest(needed, table.columns)}"
                )
        blank = (table == "").all(axis=1).to_numpy()
        table = table[[name for name in COLUMNS if name in table]].assign(row=rows[1:])[~blank]
        if table.empty:
            raise ManifestError(f"{path} names no clip")
        return cls._validated(table, path, allow_outside)

    @classmethod
    def _validated(cls, table: pd.DataFrame, path: Path, allow_outside: bool) -> Manifest:
        for name in COLUMNS:
            if name not in table:
                table[name] = ""
        table = table[[*COLUMNS, "row"]].reset_index(drop=True)
        for name in ("path", "label", "group", "split", "dataset"):
            table[name] = table[name].str.strip()
        _refuse(path, table, table["path"] == "", "the path is empty")
        for name in ("start", "end"):
            seconds = pd.to_numeric(table[name].replace("", "nan"), errors="coerce")
            _refuse(path, table, seconds.isna() & (table[name] != ""), f"{name} is not a number of seconds")
            _refuse(path, table, np.isinf(seconds) | (seconds < 0), f"{name} is not a time in the file")
            table[name] = seconds.astype(float)
        _refuse(path, table, table["end"] <= table["start"].fillna(0.0), "end is not after start")
        table["id"] = _ids(table)
        _refuse(
            path,
            table,
            table["id"].duplicated(),
            "the clip is named twice; keep one row (several labels go in one cell, joined by |)",
        )
        table.loc[table["group"] == "", "group"] = table["id"]
        name = path.parent.resolve().name if path.stem == "manifest" else path.stem
        table.loc[table["dataset"] == "", "dataset"] = name
        return cls(table, path.parent, allow_outside)

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
        return self.folder / self.table["path"].iat[index]

    def leads_out(self, index: int) -> bool:
        """Whether the audio of clip `index` lies outside the manifest's folder, links followed, and may not."""
        if self.allow_outside:
            return False
        home = os.path.realpath(self.folder)
        return os.path.commonpath([home, os.path.realpath(self.audio_path(index))]) != home

    def interval(self, index: int) -> tuple[float | None, float | None]:
        """Start and end of clip `index` in its file, seconds; None is the file's own."""
        start, end = self.table["start"].iat[index], self.table["end"].iat[index]
        return (None if np.isnan(start) else float(start), None if np.isnan(end) else float(end))

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


def _lines(table: pd.DataFrame) -> np.ndarray:
    """The line on which each row of a CSV starts, the first being 1: a quoted cell may hold line breaks."""
    breaks = np.zeros(len(table), dtype=np.int64)
    for name in table:
        breaks += np.fromiter(map(_breaks, table[name]), dtype=np.int64, count=len(table))
    return np.arange(1, len(table) + 1) + np.cumsum(breaks) - breaks


def _breaks(cell: str) -> int:
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")


def _ids(table: pd.DataFrame) -> pd.Series:
    part = table["start"].notna() | table["end"].notna()
    # Microseconds of an hour-long file need more digits than :g has.
    start, end = (seconds.map("{:.12g}".format) for seconds in (table["start"].fillna(0.0), table["end"]))
    interval = "#" + start + "-" + end.replace("nan", "")
    return table["path"].where(~part, table["path"] + interval)


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, reason: str) -> None:
    if wrong.any():
        rows = table.loc[wrong, "row"].tolist()
        first = ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        raise ManifestError(f"{path}, row {first}: {reason}")
