"""A model card beside its model: written, and written again, but never over a README.md of somebody's own."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embcomp.card.facts import UNKNOWN, Evidence
from embcomp.card.text import compressor_card, student_card
from embcomp.errors import ArtifactError, EmbcompError, EmbcompWarning
from embcomp.storage.artifact import read_config
from embcomp.storage.cards import CARD, is_card, marked
from embcomp.storage.files import read_json, write_text

KINDS = ("student", "compressor")


def card_of(path: str | os.PathLike, evidence: Evidence | None = None, license: str = UNKNOWN, name: str = "") -> str:
    """The card of the student or compressor at `path`.

    Parameters
    ----------
    name : str
        What the card calls it; by default its folder's name.

    Raises
    ------
    ArtifactError
        The folder is missing, or of another kind.
    """
    path = Path(path)
    config = read_config(path, " or ".join(KINDS))
    kind = config.get("kind") if isinstance(config, Mapping) else None
    if kind not in KINDS:
        raise ArtifactError(
            f"{path} holds a {kind or 'folder of another program'}; a card is of a {' or '.join(KINDS)}"
        )
    name = name or path.resolve().name
    try:
        if kind == "compressor":
            return marked(compressor_card(config, name, license))
        return marked(student_card(config, name, _result(path), evidence or Evidence(), license))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}/config.json is damaged ({error}); make the {kind} again") from None


def write_card(
    path: str | os.PathLike, evidence: Evidence | None = None, license: str = UNKNOWN, name: str = ""
) -> Path:
    """Write ``README.md`` into the folder of a student or compressor.

    Raises
    ------
    ArtifactError
        A README.md is there that embcomp did not write, or that was edited since; or see `card_of`.
    """
    target = Path(path) / CARD
    if os.path.lexists(target) and not is_card(target):
        raise ArtifactError(
            f"{target} was not written by embcomp, or was edited since, and is kept; move it to get a new card"
        )
    text = card_of(path, evidence, license, name)
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        write_text(target, text)
    return target


def write_card_unless_edited(path: str | os.PathLike, evidence: Evidence | None = None, name: str = "") -> bool:
    """`write_card` for work that must not end because of it: says whether a card was written.

    A card that somebody edited is kept without a word; that one cannot be written, on a full disk say, is a warning.
    """
    try:
        write_card(path, evidence, name=name)
    except ArtifactError:
        return False
    except EmbcompError as error:
        note = (
            f"no model card: {error}; the model is whole, and `embcomp card {shlex.quote(str(path))}` writes its card"
        )
        warnings.warn(note, EmbcompWarning, stacklevel=2)
        return False
    return True


def _result(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path / "result.json")
    except ArtifactError:
        return {}
    return content if isinstance(content, Mapping) else {}
