"""Which clip of a list is next, what label it was given, and how to take that back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from embcomp.data.manifest import Manifest
from embcomp.data.reading import read_cells
from embcomp.data.slips import unicode_form
from embcomp.errors import ConfigError
from embcomp.review.label_file import LabelFile, Line

SKIP, UNDO, SHOW_NAMES = "s", "u", "n"
KEYS = "123456789" + "".join(
    letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in SKIP + UNDO + SHOW_NAMES
)
NONE = "|"  # the cell of a clip to which no label applies


class Conflict(Exception):
    """What is asked for does not go with what was done before: a second label for a clip."""


@dataclass(frozen=True)
class Entry:
    """A clip of the list.

    Attributes
    ----------
    line : Line
    name : str
        Its path as in the list, and its part of the file.
    predicted : tuple of str
        What a student says.
    why : str
        Why it was suggested.
    """

    line: Line
    name: str
    predicted: tuple[str, ...] = ()
    why: str = ""


def entries(manifest: Manifest, path: Any) -> list[Entry]:
    """The clips of a list that was read as a manifest, with the columns ``predicted`` and ``why`` where it has them."""
    cells = read_cells(path)
    by_line = dict(zip(cells.rows.tolist(), cells.table.to_dict("records")))
    found = []
    for row, (line, group, given) in enumerate(zip(*(manifest.table[name] for name in ("row", "group", "given")))):
        about = by_line[line]
        predicted = unicode_form(str(about.get("predicted", "")).strip())
        names = tuple(name for name in predicted.split("|") if name)
        place = Line(manifest.audio_path(row).absolute(), *manifest.interval(row), group if given else "")
        found.append(Entry(place, manifest.ids[row], names, str(about.get("why", "")).strip()))
    return found


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of classes as they go into label cells.

    Raises
    ------
    ConfigError
        There is none, one is empty or given twice, or has what separates labels in a cell.
    """
    found = tuple(unicode_form(name.strip()) for name in classes)
    if not found:
        raise ConfigError("no labels to choose from: add --labels a,b,c or --student STUDENT")
    for name in found:
        if not name or "|" in name or name.startswith("?") or any(ord(letter) < 32 for letter in name):
            raise ConfigError(
                f"{name!r} cannot be a label: it is empty, starts with ?, or has a | or a line break in it"
            )
        if found.count(name) > 1:
            raise ConfigError(f"the label {name!r} is given twice")
    return found


class Session:
    """Hands out clips in the order of the list, and writes their labels.

    Parameters
    ----------
    clips : sequence of Entry
    file : LabelFile
        Clips that have a label in it are not asked for again.
    classes : sequence of str
    several : bool
        Whether a clip may have several labels, or none.
    predict : callable, optional
        From a clip's number to what a student says of it, for clips of which the list does not.

    Attributes
    ----------
    given : int
        Labels written and not taken back in this session.
    """

    def __init__(
        self,
        clips: Sequence[Entry],
        file: LabelFile,
        classes: Sequence[str],
        several: bool = False,
        predict: Callable[[int], Sequence[str]] | None = None,
    ):
        self.clips, self.file, self.several = list(clips), file, several
        self.classes = check_classes(classes)
        self.predict = predict
        self.given = 0
        self._skipped: list[int] = []
        self._done: list[tuple[int, bool, str | None]] = []  # clip, whether labelled, its line before
        self._predicted: dict[int, tuple[str, ...]] = {}
        self._number_of = {clip.line.key: number for number, clip in enumerate(self.clips)}
        self._lock = threading.Lock()

    def state(self) -> dict[str, Any]:
        """Where the work is, for the page."""
        with self._lock:
            return self._state()

    def label(self, number: int, labels: Sequence[str]) -> dict[str, Any]:
        """Write the labels of a clip; on return they are on disk.

        Raises
        ------
        Conflict
            The clip has a label.
        ConfigError
            There is no such class, or not one label where one is needed.
        """
        names = [unicode_form(name) for name in labels]
        for name in names:
            if name not in self.classes:
                raise ConfigError("no such class; reload the page")
        if len(set(names)) < len(names) or (len(names) != 1 and not self.several):
            raise ConfigError("one label for a clip, or several different ones with --several")
        with self._lock:
            line = self.clips[number].line
            if line.key in self.file.labels:
                raise Conflict("this clip has a label already; undo takes it back")
            before = self.file.record(line.key)
            self.file.add(line, "|".join(names) or NONE)
            self._skipped = [one for one in self._skipped if one != number]
            self._done.append((number, True, before))
            self.given += 1
            return self._state()

    def skip(self, number: int) -> dict[str, Any]:
        """Leave a clip for later; nothing is written."""
        with self._lock:
            if self.clips[number].line.key in self.file.labels:
                raise Conflict("this clip has a label already; undo takes it back")
            if number not in self._skipped:
                self._skipped.append(number)
                self._done.append((number, False, None))
            return self._state()

    def again(self) -> dict[str, Any]:
        """Ask once more for the clips that were skipped."""
        with self._lock:
            self._skipped.clear()
            self._done = [one for one in self._done if one[1]]
            return self._state()

    def undo(self) -> dict[str, Any]:
        """Take back the last label or skip; of an earlier session, the last line of the manifest.

        Raises
        ------
        Conflict
            There is nothing to undo.
        """
        with self._lock:
            last = self._last()
            if last is None:
                raise Conflict("nothing to undo")
            number, labelled, before = last
            if labelled:
                self.file.take_back(self.clips[number].line, before)
            else:
                self._skipped.remove(number)
            if self._done:
                self._done.pop()
                self.given -= labelled
            return self._state(number)

    def _last(self) -> tuple[int, bool, str | None] | None:
        if self._done:
            return self._done[-1]
        key = self.file.last()
        number = self._number_of.get(key) if key in self.file.labels else None
        return None if number is None else (number, True, self.file.without_label(self.clips[number].line))

    def _state(self, first: int | None = None) -> dict[str, Any]:
        labelled = [clip.line.key in self.file.labels for clip in self.clips]
        left = [number for number, done in enumerate(labelled) if not done and number not in self._skipped]
        if first is not None:  # what was taken back is asked for at once
            left = [first, *(number for number in left if number != first)]
        last = self._last()
        return {
            "total": len(self.clips),
            "labelled": sum(labelled),
            "skipped": len(self._skipped),
            "several": self.several,
            "classes": [
                {"name": name, "key": KEYS[place] if place < len(KEYS) else ""}
                for place, name in enumerate(self.classes)
            ],
            "clip": self._about(left[0]) if left else None,
            "next": left[1] if len(left) > 1 else None,
            "undo": None if last is None else self._said(*last[:2]),
            "file": self.file.path.name,
        }

    def _about(self, number: int) -> dict[str, Any]:
        clip = self.clips[number]
        predicted = clip.predicted
        if not predicted and self.predict is not None:
            if number not in self._predicted:
                self._predicted[number] = tuple(self.predict(number))
            predicted = self._predicted[number]
        about = {"number": number, "name": clip.name, "group": clip.line.group, "why": clip.why}
        return {**about, "predicted": list(predicted)}

    def _said(self, number: int, labelled: bool) -> dict[str, Any]:
        clip = self.clips[number]
        said = self.file.labels[clip.line.key] if labelled else "skipped"
        return {"said": "none" if said == NONE else said.replace("|", ", "), "number": number, "name": clip.name}
