"""Annotations of recordings, read and written: Raven's selection tables and Audacity's label tracks."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.tables import decode_text
from embcomp.errors import ManifestError, nearest

BEGIN, END = "Begin Time (s)", "End Time (s)"
RAVEN_LABELS = (
    *("annotation", "annotations", "label", "species", "species code", "species name", "common name", "class"),
    *("category", "call type", "call", "type", "id", "tag", "tags", "sound type", "behavior", "notes"),
)


@dataclass(frozen=True)
class Annotation:
    """A labelled stretch of a recording.

    Attributes
    ----------
    start, end : float
        Seconds in the recording; the same for a point.
    label : str
        Empty where none is given.
    recording : str
        The audio file as the annotation names it; empty where it names none.
    """

    start: float
    end: float
    label: str
    recording: str = ""


def is_raven(path: str | os.PathLike) -> bool:
    """Whether a file begins as a Raven selection table does."""
    first = _first_line(path)
    return first.startswith("Selection\t") or (BEGIN in first and END in first)


def is_audacity(path: str | os.PathLike) -> bool:
    """Whether a file begins as an Audacity label track does."""
    parts = _first_line(path).split("\t")
    try:
        return len(parts) in (2, 3) and _number(parts[0]) <= _number(parts[1])
    except ValueError:
        return False


def read_raven(path: str | os.PathLike, label_column: str = "") -> tuple[list[Annotation], list[str]]:
    """Read a Raven selection table.

    A selection that is there once a view (waveform, spectrogram) is one. Where the table spans several files
    (``Begin File`` or ``Begin Path``), times are those in the file (``File Offset (s)``).

    Parameters
    ----------
    label_column : str
        By default the column that usually holds the annotation: ``Annotation``, ``Species``, ...

    Returns
    -------
    annotations : list of Annotation
    notes : list of str

    Raises
    ------
    ManifestError
        It has no times, a time is not a number, or the column of the labels is missing or could be one of several.
    """
    path = Path(path)
    text, notes = decode_text(_bytes(path), path)
    rows = [
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE) if any(row)
    ]
    names = [name.strip() for name in rows[0]] if rows else []
    for needed in (BEGIN, END):
        if needed not in names:
            raise ManifestError(f"{path} is no Raven selection table: it has no column {needed!r}")
    place = {name: number for number, name in enumerate(names)}
    label, said = _label_column(path, names, label_column) if rows[1:] or label_column else ("", [])
    found: dict[tuple, Annotation] = {}
    for number, row in enumerate(rows[1:], 2):

        def cell(name: str, row: list[str] = row) -> str:
            return row[place[name]].strip() if name in place and place[name] < len(row) else ""

        start, end = _time(cell(BEGIN), path, number), _time(cell(END), path, number)
        recording = cell("Begin Path") or cell("Begin File")
        if recording and cell("File Offset (s)"):
            offset = _time(cell("File Offset (s)"), path, number)
            start, end = offset, offset + end - start
        if end < start:
            raise ManifestError(f"{path}, line {number}: the selection ends before it begins")
        one = Annotation(start, end, cell(label) if label else "", recording)
        found.setdefault((cell("Selection") or number, one), one)
    return list(found.values()), [*notes, *said]


def _label_column(path: Path, names: list[str], given: str) -> tuple[str, list[str]]:
    if given:
        if given not in names:
            raise ManifestError(f"{path} has no column {given!r}; {nearest(given, names)}")
        return given, []
    found = [name for known in RAVEN_LABELS for name in names if name.casefold() == known]
    if not found:
        raise ManifestError(
            f"{path} has no column that is known to hold labels (found: {', '.join(names)}); say which with --label-column"
        )
    more = f" (not {', '.join(found[1:])}; see --label-column)" if found[1:] else ""
    return found[0], [f"{path.name}: the label is {found[0]!r}{more}"]


def read_audacity(path: str | os.PathLike) -> list[Annotation]:
    """Read an Audacity label track: start, end and label a line, parted by tabs; frequency lines are passed over.

    Raises
    ------
    ManifestError
        A line is not that.
    """
    path = Path(path)
    text, _ = decode_text(_bytes(path), path)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("\\"):
            continue
        parts = line.split("\t", 2)
        if len(parts) < 2:
            raise ManifestError(f"{path}, line {number}, is not start, end and label parted by tabs")
        start, end = _time(parts[0], path, number), _time(parts[1], path, number)
        if end < start:
            raise ManifestError(f"{path}, line {number}: the label ends before it begins")
        found.append(Annotation(start, end, parts[2].strip() if len(parts) > 2 else ""))
    return found


def raven_text(annotations: Iterable[tuple[Annotation, float]], top: float) -> str:
    """A Raven selection table.

    Parameters
    ----------
    annotations : iterable of (Annotation, float)
        Each with its probability.
    top : float
        Upper edge of the selections, Hz.
    """
    header = [
        "Selection",
        "View",
        "Channel",
        BEGIN,
        END,
        "Low Freq (Hz)",
        "High Freq (Hz)",
        "Annotation",
        "Probability",
        "Begin Path",
    ]
    lines = ["\t".join(header)]
    for number, (one, probability) in enumerate(annotations, 1):
        place = [f"{one.start:.6f}", f"{one.end:.6f}", "0", f"{top:g}"]
        lines.append(
            "\t".join(
                [
                    str(number),
                    "Spectrogram 1",
                    "1",
                    *place,
                    _plain(one.label),
                    f"{probability:.4f}",
                    _plain(one.recording),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def audacity_text(annotations: Sequence[tuple[Annotation, float]]) -> str:
    """An Audacity label track; the probability is not in it, as it would be read as a part of the label."""
    return "".join(f"{one.start:.6f}\t{one.end:.6f}\t{_plain(one.label)}\n" for one, _ in annotations)


def _plain(text: str) -> str:
    """Text without what ends a cell or a line."""
    return " ".join(text.split())


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ManifestError(f"no file at {path}" if not path.exists() else f"{path} is not a file")
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror or error}") from None


def _first_line(path: str | os.PathLike) -> str:
    try:
        with open(path, "rb") as file:
            return file.readline(4096).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    except OSError:
        return ""


def _number(text: str) -> float:
    return float(text.strip().replace(",", "."))  # some systems write decimal commas


def _time(text: str, path: Path, line: int) -> float:
    try:
        value = _number(text)
    except ValueError:
        raise ManifestError(f"{path}, line {line}: {text.strip()!r} is not a time in seconds") from None
    if not 0 <= value < float("inf"):
        raise ManifestError(f"{path}, line {line}: {text.strip()!r} is not a time in a recording")
    return value
