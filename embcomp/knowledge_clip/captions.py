"""Captions of clips: made from labels, or read from a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embcomp.data.labels import Labels
from embcomp.errors import DataError, ManifestError, nearest

TEMPLATES = (
    "{}",
    "the sound of {}",
    "a recording of {}",
    "this is a sound of {}",
    "a clip in which {} can be heard",
)


@dataclass(frozen=True)
class Captions:
    """What n clips are said to hold.

    Attributes
    ----------
    texts : tuple of str
        Every different caption once, m of them.
    matches : ndarray of bool of shape (n, m)
        Which captions each clip has, at least one.
    """

    texts: tuple[str, ...]
    matches: np.ndarray

    @classmethod
    def from_lists(cls, captions: Sequence[Sequence[str]], ids: Sequence[str] | None = None) -> Captions:
        """Put together the captions of each clip.

        Parameters
        ----------
        ids : sequence of str, optional
            Names of the clips, for the message.

        Raises
        ------
        DataError
            A clip has no caption.
        """
        bare = [row for row, texts in enumerate(captions) if not texts]
        if bare:
            first = ids[bare[0]] if ids is not None else f"number {bare[0]}"
            raise DataError(f"{len(bare)} clips have no caption, {first} first; caption them or leave them out")
        texts = tuple(dict.fromkeys(text for of_clip in captions for text in of_clip))
        column = {text: number for number, text in enumerate(texts)}
        matches = np.zeros((len(captions), len(texts)), dtype=bool)
        for row, of_clip in enumerate(captions):
            matches[row, [column[text] for text in of_clip]] = True
        return cls(texts, matches)

    @classmethod
    def from_labels(cls, labels: Labels, prompts: Mapping[str, Sequence[str]]) -> Captions:
        """Every prompt of a clip's labels is a caption of it.

        Raises
        ------
        DataError
            A clip has no label, or a label has no prompt.
        """
        missing = [name for name in labels.classes if not prompts.get(name)]
        if missing:
            raise DataError(f"no prompt for the label {missing[0]!r}; {nearest(missing[0], prompts)}")
        of_class = [list(prompts[name]) for name in labels.classes]
        return cls.from_lists([sum((of_class[k] for k in np.flatnonzero(row == 1)), []) for row in labels.matrix])

    def __len__(self) -> int:
        return len(self.matches)

    def select(self, rows: np.ndarray) -> Captions:
        """The clips `rows`, and the captions that they have."""
        matches = self.matches[rows]
        used = np.flatnonzero(matches.any(axis=0))
        return Captions(tuple(self.texts[number] for number in used), matches[:, used])

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """One caption of each clip `rows` (k,) at random, by number (k,)."""
        weights = torch.from_numpy(self.matches)[rows].float()
        return torch.multinomial(weights, 1, generator=generator).squeeze(1)


def default_prompts(classes: Sequence[str], templates: Sequence[str] = TEMPLATES) -> dict[str, list[str]]:
    """Each label, its ``_`` read as spaces, in every template.

    As CLIP names classes (Radford et al. 2021, arXiv 2103.00020, section 3.1.4); the templates are ours.

    Examples
    --------
    >>> default_prompts(["sea_waves"], ["{}", "the sound of {}"])
    {'sea_waves': ['sea waves', 'the sound of sea waves']}
    """
    return {name: [template.format(name.replace("_", " ")) for template in templates] for name in classes}


def read_prompts(path: str | os.PathLike, templates: Sequence[str] = ("{}",)) -> dict[str, list[str]]:
    """Read what labels mean: a CSV ``label,caption``, several rows for a label if need be.

    Raises
    ------
    ManifestError
        The table cannot be read, lacks a column, or has an empty cell.
    """
    found: dict[str, list[str]] = {}
    for label, caption in _pairs(path, "label"):
        found.setdefault(label, []).extend(template.format(caption) for template in templates)
    return found


def read_captions(path: str | os.PathLike, ids: Sequence[str]) -> Captions:
    """Read captions of clips: a CSV ``path,caption``, several rows for a clip if need be.

    A manifest with a column ``caption`` is one.

    Parameters
    ----------
    ids : sequence of str
        Clips as `Manifest.ids` names them; further ones in the table are passed over.

    Raises
    ------
    ManifestError
        The table cannot be read, lacks a column, or has an empty cell.
    DataError
        A clip has no caption.
    """
    found: dict[str, list[str]] = {}
    for clip, caption in _pairs(path, "path"):
        found.setdefault(clip, []).append(caption)
    return Captions.from_lists([found.get(clip, []) for clip in ids], ids)


def _pairs(path: str | os.PathLike, key: str) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            for needed in (key, "caption"):
                if needed not in columns:
                    raise ManifestError(f"{path} has no column {needed!r} (found: {', '.join(columns) or 'nothing'})")
            pairs = [((row[key] or "").strip(), (row["caption"] or "").strip()) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"cannot read {path} as CSV in UTF-8: {error}") from None
    for number, pair in enumerate(pairs, 2):
        if not all(pair):
            raise ManifestError(f"{path}, row {number}: {key} and caption must both be given")
    return pairs
