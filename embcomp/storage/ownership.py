"""Whose a folder or file is: only what embcomp wrote, of the same kind, is ever replaced or advised to be deleted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from embcomp.errors import ArtifactError
from embcomp.storage.cards import CARD, is_card
from embcomp.storage.files import read_json, write_json

MARK = "embcomp.json"  # in folders of results: what kind they are
FORMAT = 1
SYSTEM = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # that file browsers leave
HALF = re.compile(r"\.(.+)\.\d+\.(?:tmp|old)")  # what a writer that was killed leaves of a file
SHOWN = 4  # names listed of what is in the way
STAGES = frozenset(
    {"checkpoints", "checks", "compressors", "datasets", "embeddings", "features", "predictions", "shifted", "splits"}
    | {"scores", "students", "teachers", "views"}
)


def kind_of(folder: str | os.PathLike) -> str:
    """What embcomp wrote into a folder: ``store``, ``run``, the kind of an artifact; empty where it wrote nothing."""
    folder = Path(folder)
    for name, kind in ((MARK, None), ("config.json", None), ("meta.json", "store")):
        content = _json(folder / name)
        if type(content.get("format")) is not int:
            continue
        if kind is None and isinstance(content.get("kind"), str):
            return content["kind"]
        if kind == "store" and isinstance(content.get("settings"), dict):
            return kind
    inside = folder / "stages"
    # Runs of before they were marked.
    names = set(os.listdir(inside)) if inside.is_dir() else set()
    if "checks" in names and names <= STAGES | SYSTEM:
        return "run"
    return ""


def strangers(folder: str | os.PathLike, own: Iterable[str] = ()) -> list[str]:
    """Names in a folder that are not among `own`, half-written ones of them included, nor left by a file browser; sorted.

    A model card that embcomp wrote and nobody changed since is not a stranger to any model.
    """
    own = {*own, *([CARD] if is_card(Path(folder) / CARD) else [])}
    found = sorted(set(os.listdir(folder)) - own - SYSTEM)
    return [name for name in found if not ((half := HALF.fullmatch(name)) and half[1] in own)]


def listing(names: list[str]) -> str:
    """A few names for a message."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def refuse_foreign(path: str | os.PathLike, kind: str) -> None:
    """Refuse a folder that holds something else than a `kind`; an empty one, or none, is no hindrance.

    Raises
    ------
    ArtifactError
        Says what is there.
    """
    path = Path(path)
    inside = strangers(path) if path.is_dir() else []
    found = kind_of(path) if inside else kind
    if found != kind:
        what = f"a {found}" if found else f"other files ({listing(inside)})"
        article = "an" if kind[:1] in "aeiou" else "a"
        raise ArtifactError(f"{path} holds {what}, which {article} {kind} must not replace; choose another name")


def refuse_other(path: str | os.PathLike, kind: str, own: Iterable[str]) -> None:
    """Refuse to replace a folder unless it is empty, or of the same `kind` and with no file beside `own`.

    Raises
    ------
    ArtifactError
        Says what is there. Nothing was changed.
    """
    path = Path(path)
    if not path.is_dir():
        return
    refuse_foreign(path, kind)
    if others := strangers(path, own):
        raise ArtifactError(
            f"{path} holds {listing(others)} beside the {kind}, which would be lost; move them, or choose another name"
        )


def advice(path: str | os.PathLike, kind: str, own: Iterable[str], otherwise: str = "choose another --out") -> str:
    """How to get rid of what is at `path`: to delete it only where it is of this `kind` and nothing else is in it."""
    path = Path(path)
    if path.is_dir() and kind_of(path) == kind and not strangers(path, own):
        return f"delete it or {otherwise}"
    return otherwise


def of_a_stage(path: str | os.PathLike) -> bool:
    """Whether a file or folder lies among the stages of a run, where whatever is deleted is made again."""
    parents = Path(path).absolute().parents
    return any(parent.name == "stages" and kind_of(parent.parent) == "run" for parent in parents[:3])


def remake(path: str | os.PathLike) -> str:
    """What to do about a damaged file: only one among the stages of a run is made again when it is gone."""
    return "delete it and run again" if of_a_stage(path) else "it is no file of a run that embcomp made"


def check_results(
    folder: str | os.PathLike, kind: str, names: Iterable[str], older: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Refuse a folder of results that is another's: one with a file of a name that is going to be written.

    Parameters
    ----------
    kind : str
        ``run``, ``matrix`` or ``sweep``.
    names : iterable of str
        What will be written; other files stay as they are.
    older : callable, optional
        Whether a folder without a mark is one that was made before folders were marked.

    Raises
    ------
    ArtifactError
        Names the files.
    """
    folder = Path(folder)
    found = kind_of(folder) if folder.is_dir() else ""
    if found == kind:
        return
    taken = [name for name in names if os.path.lexists(folder / name)]
    if found:
        raise ArtifactError(f"{folder} holds a {found}, not a {kind}; choose another --out")
    if taken and not older(folder):
        raise ArtifactError(
            f"{folder} is no folder of a {kind} and holds {listing(taken)}, which would be written over; choose another --out"
        )


def mark_results(folder: str | os.PathLike, kind: str) -> None:
    """Say in a folder what it is, so that it may be written into again."""
    path = Path(folder) / MARK
    if _json(path).get("kind") != kind:
        write_json(path, {"kind": kind, "format": FORMAT})


def check_file(path: str | os.PathLike, what: str, ours: Callable[[str], bool]) -> None:
    """Refuse to write over a file unless `ours` knows it by its beginning.

    Parameters
    ----------
    what : str
        What is to be written: ``"table of scores"``.
    ours : callable
        From its text, of a long one the first million characters, to whether it is one; an empty file always is.

    Raises
    ------
    ArtifactError
        The file is something else.
    """
    path = Path(path)
    if not path.is_file():
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            head = file.read(1 << 20)
    except OSError:
        return  # writing says what is wrong
    if head and not ours(head):
        raise ArtifactError(f"{path} is there already and is no {what} of embcomp; choose another --out")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path) if path.is_file() else {}
    except (OSError, ArtifactError):
        return {}
    return content if isinstance(content, dict) else {}
