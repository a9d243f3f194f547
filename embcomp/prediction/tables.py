"""What a model found, as CSV, JSON and a table for reading; of long recordings by way of a file, not of memory."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from embcomp.audio.mono import about_losses
from embcomp.errors import AudioError, BadClip
from embcomp.prediction.labeller import Labeller
from embcomp.prediction.predicted import Predicted, refuse_bad
from embcomp.prediction.windows import label_windows

HEAD = ("path", "start", "end", "label", "probability")
UNTIMED = ("path", "label", "probability")  # of rows of tables and images
# How each form begins, to tell it from files of anybody else.
BEGINNINGS: dict[str, Callable[[str], bool]] = {
    "csv": lambda text: text.startswith((",".join(HEAD), ",".join(UNTIMED))),
    "json": lambda text: text.startswith('[\n {\n  "path":') or text.strip() == "[]",
    "table": lambda text: bool(re.search(r" [01]\.\d{3}$", text.partition("\n")[0])),
}


def as_csv(found: Predicted) -> str:
    """The table as CSV, numbers to six digits."""
    head = [*HEAD, *(f"p:{name}" for name in found.classes)]
    lines = [head, *(_cells(*row) for row in _rows(found))]
    return "".join(_csv_line(line if found.timed else [line[0], *line[3:]]) for line in lines)


def as_json(found: Predicted) -> str:
    """A list of objects: path, start, end, label, probability and the probabilities of all classes."""
    rows = [_object(_cells(*row), found.classes) for row in _rows(found)]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def as_table(found: Predicted, top: int = 1) -> str:
    """Aligned columns for reading: place, label, and the `top` most probable classes with their probabilities."""
    rows = [_line(row, found.classes, found.multi_label, found.windowed, top) for row in _rows(found)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "".join(_aligned(row, widths) for row in rows)


def _rows(found: Predicted) -> Iterator[tuple[str, float, float, str, Sequence[float]]]:
    for (path, start, end), label, row in zip(found.places, found.labels, found.probabilities):
        yield path, start, end, label, row


def _cells(path: str, start: float, end: float, label: str, probabilities: Sequence[float]) -> list[str]:
    # Hours into a recording, six digits cannot separate neighbouring windows.
    return [
        path,
        f"{start:.12g}",
        f"{end:.12g}",
        label,
        *(f"{value:.6g}" for value in (max(probabilities), *probabilities)),
    ]


def _object(cells: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    path, start, end, label, probability, *each = cells
    times = {} if math.isnan(float(start)) else {"start": float(start), "end": float(end)}
    numbers = times | {"label": label, "probability": float(probability)}
    return {"path": path, **numbers, "probabilities": dict(zip(classes, map(float, each)))}


def _line(row: tuple, classes: Sequence[str], multi_label: bool, windowed: bool, top: int) -> list[str]:
    path, start, end, label, probabilities = row
    order = sorted(range(len(classes)), key=lambda number: -probabilities[number])[:top]
    where = [path, f"{start:.2f}-{end:.2f}"] if windowed else [path]
    return [*where, *([label or "-"] if multi_label else []), *(f"{classes[n]} {probabilities[n]:.3f}" for n in order)]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n"


class WindowTable:
    """Windows of recordings, kept in a file as they come.

    Parameters
    ----------
    model : Labeller
    scratch : text file
        To write and read; what a recording that turns out to be damaged has written is taken back.

    Attributes
    ----------
    rows : int
    """

    def __init__(self, model: Labeller, scratch: IO[str]):
        self.model, self.scratch = model, scratch
        self.rows, self.files, self.seconds = 0, 0, 0.0
        self.bad: list[BadClip] = []
        self.lost: Counter[str] = Counter()

    def add(self, path: Path, shown: str | None = None, **options: Any) -> None:
        """Label the windows of a recording, called `shown`; `options` are those of `embcomp.predict_windows`."""
        shown = str(path) if shown is None else shown
        self.files += 1
        begin, rows, end, kinds = self.scratch.tell(), self.rows, 0.0, set()
        writer = csv.writer(self.scratch, lineterminator="\n")
        try:
            for one in label_windows(self.model, path, lost=kinds.add, **options):
                writer.writerow(_cells(shown, one.start, one.end, one.label, one.probabilities))
                self.rows, end = self.rows + 1, one.end
        except AudioError as error:
            self.scratch.seek(begin)
            self.scratch.truncate()
            self.rows, end = rows, 0.0
            self.bad.append(BadClip(self.files, shown, str(error)))
        self.seconds += end
        self.lost.update(kinds)

    def finish(self, skip_bad: bool) -> Predicted:
        """What is to be said of all recordings; its table is empty, see `texts`.

        Raises
        ------
        AudioError
            Recordings cannot be used and `skip_bad` is false, or none can.
        """
        refuse_bad(self.bad, self.files, skip_bad)
        notes = about_losses(self.lost, "--channel left, right or loudest")
        known, nothing = self.model, np.empty((0, len(self.model.classes)), dtype=np.float32)
        return Predicted(
            [], [], nothing, known.classes, known.multi_label, True, 0, tuple(self.bad), notes, self.seconds
        )

    def texts(self, form: str, top: int) -> Iterator[str]:
        """The rows as ``csv``, ``json`` or ``table``, piece by piece."""
        yield from {"csv": self._csv, "json": self._json, "table": lambda: self._table(top)}[form]()

    def _csv(self) -> Iterator[str]:
        yield _csv_line([*HEAD, *(f"p:{name}" for name in self.model.classes)])
        self.scratch.seek(0)
        while piece := self.scratch.read(1 << 16):
            yield piece

    def _json(self) -> Iterator[str]:
        before = "[\n"
        for cells in self._read():
            text = json.dumps(_object(cells, self.model.classes), indent=1, ensure_ascii=False)
            yield before + "\n".join(" " + line for line in text.split("\n"))
            before = ",\n"
        yield "\n]\n" if self.rows else "[]\n"

    def _table(self, top: int) -> Iterator[str]:
        known = self.model

        def lines() -> Iterator[list[str]]:
            for path, start, end, label, _, *each in self._read():
                row = path, float(start), float(end), label, list(map(float, each))
                yield _line(row, known.classes, known.multi_label, True, top)

        widths = [0] * len(next(lines(), []))
        for line in lines():
            widths = [max(width, len(cell)) for width, cell in zip(widths, line)]
        for line in lines():
            yield _aligned(line, widths)

    def _read(self) -> Iterator[list[str]]:
        self.scratch.seek(0)
        yield from csv.reader(self.scratch)


def _csv_line(cells: Sequence[str]) -> str:
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
