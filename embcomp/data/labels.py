"""Label cells as numbers, and label names carried from one data set to another."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.data.reading import read_text
from embcomp.data.slips import slips, unicode_form
from embcomp.errors import EmbcompWarning, ManifestError, nearest
from embcomp.storage.bringing import is_there
from embcomp.storage.places import join


@dataclass(frozen=True)
class Labels:
    """Labels of n clips over a fixed list of classes.

    Attributes
    ----------
    classes : tuple of str
    matrix : ndarray of shape (n, classes), float32
        1 applies, 0 does not, NaN unknown.
    multi_label : bool
        Whether a clip may have several labels, or none.
    """

    classes: tuple[str, ...]
    matrix: np.ndarray
    multi_label: bool = False

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def index(self) -> np.ndarray:
        """Class number of each clip, int64 (n,); -1 where the clip has no label.

        Raises
        ------
        ManifestError
            The labels are multi-label.
        """
        if self.multi_label:
            raise ManifestError("these clips have several labels each; a class number needs exactly one")
        known = ~np.isnan(self.matrix).any(axis=1)
        return np.where(known, np.argmax(np.nan_to_num(self.matrix), axis=1), -1).astype(np.int64)

    @property
    def labelled(self) -> np.ndarray:
        """Which clips have any known label, bool (n,)."""
        return ~np.isnan(self.matrix).all(axis=1)

    @property
    def for_splits(self) -> np.ndarray:
        """One number per clip to stratify by, int64 (n,); of several labels the rarest."""
        positive = np.nan_to_num(self.matrix)
        rarity = positive / np.maximum(positive.sum(axis=0), 1.0)
        return np.where(positive.any(axis=1), np.argmax(rarity, axis=1), -1).astype(np.int64)

    @property
    def cells(self) -> list[str]:
        """Label cells; `encode` turns them into the same labels again."""
        return [self._cell(row) for row in self.matrix]

    def _cell(self, row: np.ndarray) -> str:
        if np.isnan(row).all():
            return ""
        marks = ((name, "?" if np.isnan(value) else "") for name, value in zip(self.classes, row) if value != 0)
        return "|".join(mark + name for name, mark in marks) or "|"

    def select(self, rows: np.ndarray) -> Labels:
        """The clips `rows`."""
        return Labels(self.classes, self.matrix[rows], self.multi_label)


def several_labels(cells: Sequence[str]) -> bool:
    """Whether a cell holds several labels, an unknown one, or says that none applies."""
    return any(_tells_of_several(cell, _names(cell)) for cell in cells)


def encode(
    cells: Sequence[str],
    classes: Sequence[str] | None = None,
    multi_label: bool | None = None,
    *,
    check: bool = True,
) -> Labels:
    """Turn label cells into a matrix.

    Parameters
    ----------
    cells : sequence of str
        ``"dog"``, ``"guitar|voice|?piano"``, ``"|"`` where it is known that none applies, or ``""`` for a clip
        without a label; None and NaN are read as that. Letters that look the same are the same (Unicode's form NFC).
    classes : sequence of str, optional
        The vocabulary; by default every label met, sorted.
    multi_label : bool, optional
        What the whole set is, where the cells are only a part of it; by default what `several_labels` says.
    check : bool, default=True
        Without `classes`: warn of labels that look like a slip, as reading a manifest does.

    Raises
    ------
    ManifestError
        A label is not among `classes`, there are fewer than two classes, or a cell holds several labels and
        `multi_label` is false.

    Warns
    -----
    EmbcompWarning
        A label looks like a slip, see `embcomp.data.slips`.

    Examples
    --------
    >>> encode(["dog", "cat", ""]).index
    array([ 1,  0, -1])
    """
    cells = [_text(cell) for cell in cells]
    parts = [_names(cell) for cell in cells]
    of_several = [cell for cell, part in zip(cells, parts) if _tells_of_several(cell, part)]
    if of_several and multi_label is False:
        raise ManifestError(
            f"the label cell {of_several[0]!r} is not one label, and these classes take one label per clip"
        )
    if classes is None:
        classes = sorted({name.removeprefix("?") for part in parts for name in part})
        if len(classes) < 2:
            raise ManifestError(f"a classifier needs two classes or more; the labels hold {classes}")
        for slip in slips(cells) if check else ():
            warnings.warn(slip, EmbcompWarning, stacklevel=2)
    classes = [unicode_form(name) for name in classes]
    column = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((len(parts), len(classes)), dtype=np.float32)
    for row, names in enumerate(parts):
        if not names and not _says_none(cells[row]):
            matrix[row] = np.nan
        for name in names:
            known = name.removeprefix("?")
            if known not in column:
                raise ManifestError(f"label {known!r} is not among the classes {list(classes)}")
            # Named plainly and with a ? in one cell, it applies.
            matrix[row, column[known]] = np.nan if name.startswith("?") and known not in names else 1.0
    return Labels(tuple(classes), matrix, bool(of_several) if multi_label is None else multi_label)


def _text(cell: object) -> str:
    """A cell as text; None, NaN and pandas' NA are a clip without a label."""
    if isinstance(cell, str):
        return unicode_form(cell)
    if isinstance(cell, bytes):
        return unicode_form(cell.decode())
    missing = cell is None or str(cell) in ("nan", "<NA>", "NaT")
    return "" if missing else str(cell)


def _says_none(cell: str) -> bool:
    return set(cell) - {" "} == {"|"}


def _tells_of_several(cell: str, names: list[str]) -> bool:
    return len(names) > 1 or _says_none(cell) or (bool(names) and names[0].startswith("?"))


def _names(cell: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in cell.split("|") if part.strip()))
    if "?" in names:
        raise ManifestError(f"the label cell {cell!r} has a ? without a name")
    return names


@dataclass(frozen=True)
class MappedLabels:
    """Labels of a further data set in the student's classes.

    Attributes
    ----------
    labels : Labels
        Of the clips kept, over the student's classes.
    kept : ndarray of int64
        Their row numbers.
    left_out : dict of str to int
        Labels the student does not know, and how many clips went with each.
    not_tested : tuple of str
        Classes of the student of which the data set has no clip.
    """

    labels: Labels
    kept: np.ndarray
    left_out: dict[str, int]
    not_tested: tuple[str, ...]


def map_labels(
    cells: Sequence[str],
    classes: Sequence[str],
    mapping: Mapping[str, str] | None = None,
    multi_label: bool | None = None,
) -> MappedLabels:
    """Express label cells of another data set in the classes a student knows.

    Labels are matched by name, after `mapping` where given. A clip none of whose
    labels the student knows is left out and counted; so is a clip without a label.

    Parameters
    ----------
    mapping : mapping of str to str, optional
        From the other set's label to the student's; an empty value drops the label.
    multi_label : bool, optional
        Whether the student's task is multi-label; by default what the cells say.

    Raises
    ------
    ManifestError
        Not one clip can be matched, or a clip has several of the labels of a student that gives one.
    """
    mapping = {unicode_form(old): unicode_form(new) for old, new in (mapping or {}).items()}
    cells, classes = [_text(cell) for cell in cells], [unicode_form(name) for name in classes]
    kept, renamed, left_out = [], [], {}
    for row, cell in enumerate(cells):
        names = _names(cell)
        known = []
        for name in names:
            unsure = "?" if name.startswith("?") else ""
            target = mapping.get(name.removeprefix("?"), name.removeprefix("?"))
            if target in classes:
                known.append(unsure + target)
        if known or (multi_label and _says_none(cell)):
            kept.append(row)
            renamed.append("|".join(dict.fromkeys(known)) or "|")
        else:
            left_out[cell or "(no label)"] = left_out.get(cell or "(no label)", 0) + 1
    if not kept:
        raise ManifestError(
            f"no label of the data set ({', '.join(sorted(left_out)[:5])}) is among the classes {list(classes)}; give a label map"
        )
    labels = encode(renamed, classes, multi_label)
    tested = np.nansum(labels.matrix, axis=0) > 0
    return MappedLabels(labels, np.array(kept), left_out, tuple(name for name, met in zip(classes, tested) if not met))


MAPS = Path(__file__).with_name("label_maps")


def find_label_map(name: str, root: str | os.PathLike = "") -> Path:
    """A label map that comes with embcomp, by its name, or the file `name`, from `root`.

    ``FROM-TO`` takes the labels of FROM to those of TO, keeps those labels of TO that it leads to, and drops all others
    of both sets:

    ``irmas-openmic``, ``openmic-irmas``
        Ten instruments, after Wang et al. 2023 (arXiv 2307.10834): cel is cello, gac and gel are guitar. The second
        drops guitar, which is two of IRMAS's, and holds only labels of OpenMIC-2018.
    ``esc50-urbansound8k``, ``urbansound8k-esc50``
        dog is dog_bark, engine is engine_idling; car_horn and siren.
    ``ravdess-emodb``, ``emodb-ravdess``
        angry is anger, happy happiness, sad sadness, fearful fear; disgust and neutral.
    ``words-digits``, ``digits-words``
        zero to nine of Speech Commands are 0 to 9 of FSDD and AudioMNIST.

    Raises
    ------
    ManifestError
        `name` is no file's and one letter or so from a map's.
    """
    maps = {found.stem: found for found in MAPS.glob("*.csv")}
    path = maps.get(name) or join(root, name)
    if not is_there(path) and difflib.get_close_matches(name, maps):
        raise ManifestError(f"no label map at {path}; {nearest(name, sorted(maps))}")
    return path


def read_label_map(path: str | os.PathLike) -> dict[str, str]:
    """Read a label map: a CSV with the columns ``from,to``.

    Raises
    ------
    ManifestError
        The file is missing or has other columns.
    """
    path = Path(path)
    text = read_text(path, "label map")
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    separator = next((mark for mark in ";\t" if mark in header and "," not in header), ",")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    except csv.Error as error:
        raise ManifestError(f"cannot read the label map {path}: {error}") from None
    if not rows or [name.strip() for name in rows[0]] != ["from", "to"] or any(len(row) != 2 for row in rows):
        raise ManifestError(f"the label map {path} must have exactly the columns from,to")
    mapping: dict[str, str] = {}
    for old, new in ([unicode_form(cell.strip()) for cell in row] for row in rows[1:]):
        if mapping.setdefault(old, new) != new:
            raise ManifestError(f"the label map {path} sends {old!r} to both {mapping[old]!r} and {new!r}")
    return mapping
