"""Label cells as numbers, and label names carried from one data set to another."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.errors import ManifestError


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

    def select(self, rows: np.ndarray) -> Labels:
        """The clips `rows`."""
        return Labels(self.classes, self.matrix[rows], self.multi_label)


def encode(cells: Sequence[str], classes: Sequence[str] | None = None) -> Labels:
    """Turn label cells into a matrix.

    Parameters
    ----------
    cells : sequence of str
        ``"dog"``, ``"guitar|voice|?piano"``, or ``""`` for a clip without a label.
    classes : sequence of str, optional
        The vocabulary; by default every label met, sorted.

    Raises
    ------
    ManifestError
        A label is not among `classes`, or there are fewer than two classes.

    Examples
    --------
    >>> encode(["dog", "cat", ""]).index
    array([ 1,  0, -1])
    """
    parts = [_names(cell) for cell in cells]
    multi_label = any(len(part) > 1 or part[0].startswith("?") for part in parts if part)
    if classes is None:
        classes = sorted({name.removeprefix("?") for part in parts for name in part})
        if len(classes) < 2:
            raise ManifestError(f"a classifier needs two classes or more; the labels hold {classes}")
    column = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((len(parts), len(classes)), dtype=np.float32)
    for row, names in enumerate(parts):
        if not names:
            matrix[row] = np.nan
        for name in names:
            known = name.removeprefix("?")
            if known not in column:
                raise ManifestError(f"label {known!r} is not among the classes {list(classes)}")
            # Named plainly and with a ? in one cell, it applies.
            matrix[row, column[known]] = np.nan if name.startswith("?") and known not in names else 1.0
    return Labels(tuple(classes), matrix, multi_label)


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


def map_labels(cells: Sequence[str], classes: Sequence[str], mapping: Mapping[str, str] | None = None) -> MappedLabels:
    """Express label cells of another data set in the classes a student knows.

    Labels are matched by name, after `mapping` where given. A clip none of whose
    labels the student knows is left out and counted; so is a clip without a label.

    Parameters
    ----------
    mapping : mapping of str to str, optional
        From the other set's label to the student's; an empty value drops the label.

    Raises
    ------
    ManifestError
        Not one clip can be matched.
    """
    mapping = mapping or {}
    kept, renamed, left_out = [], [], {}
    for row, cell in enumerate(cells):
        names = _names(cell)
        known = []
        for name in names:
            unsure = "?" if name.startswith("?") else ""
            target = mapping.get(name.removeprefix("?"), name.removeprefix("?"))
            if target in classes:
                known.append(unsure + target)
        if known:
            kept.append(row)
            renamed.append("|".join(dict.fromkeys(known)))
        else:
            left_out[cell or "(no label)"] = left_out.get(cell or "(no label)", 0) + 1
    if not kept:
        raise ManifestError(
            f"no label of the data set ({', '.join(sorted(left_out)[:5])}) is among the classes {list(classes)}; give a label map"
        )
    labels = encode(renamed, classes)
    tested = np.nansum(labels.matrix, axis=0) > 0
    return MappedLabels(labels, np.array(kept), left_out, tuple(name for name, met in zip(classes, tested) if not met))


def read_label_map(path: str | os.PathLike) -> dict[str, str]:
    """Read a label map: a CSV with the columns ``from,to``.

    Raises
    ------
    ManifestError
        The file is missing or has other columns.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"cannot read the label map {path}: {error}") from None
    if not rows or [name.strip() for name in rows[0]] != ["from", "to"] or any(len(row) != 2 for row in rows):
        raise ManifestError(f"the label map {path} must have exactly the columns from,to")
    mapping: dict[str, str] = {}
    for old, new in ((row[0].strip(), row[1].strip()) for row in rows[1:]):
        if mapping.setdefault(old, new) != new:
            raise ManifestError(f"the label map {path} sends {old!r} to both {mapping[old]!r} and {new!r}")
    return mapping
