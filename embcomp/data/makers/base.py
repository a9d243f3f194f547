"""What every maker of manifests is: a way to find clips, their labels and groups in one kind of source."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from embcomp.errors import ConfigError, ManifestError, nearest


@dataclass(frozen=True)
class Clip:
    """One clip found: a file or a part of one.

    Attributes
    ----------
    path : Path
        The audio file.
    label : str
        As in a manifest: several joined by ``|``, empty where unknown.
    group, split : str
        Empty where the source does not tell.
    start, end : float or None
        Part of the file, seconds; None is the file's own.
    """

    path: Path
    label: str = ""
    group: str = ""
    split: str = ""
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Found:
    """What a maker found in its source.

    Attributes
    ----------
    clips : list of Clip
    home : Path
        Folder from which paths are matched by patterns, and which holds the audio.
    notes : list of str
        What was assumed, and what was left out.
    dataset : str
        Name of the data set; empty where the source has none.
    selections : bool
        Whether clips with a start and end are selections in recordings, which windows take their labels from.
    left_out : list of tuple of (str, str)
        What could not be used, and why.
    unlabelled : str
        Why clips without a label are no clips of the set; empty keeps them, as clips to learn from without a label.
    no_label : str
        What to say where no clip at all has a label.
    """

    clips: list[Clip]
    home: Path
    notes: list[str] = field(default_factory=list)
    dataset: str = ""
    selections: bool = False
    left_out: list[tuple[str, str]] = field(default_factory=list)
    unlabelled: str = ""
    no_label: str = ""


def option(default: Any, words: str, **more: Any) -> Any:
    """A setting of a maker: its default, and what the command line says of it."""
    return field(default=default, metadata={"help": words, **more})


@dataclass(frozen=True)
class NoSettings:
    """Of a maker that has nothing to set."""


class Maker:
    """Finds the clips of one kind of source.

    Attributes
    ----------
    name : str
        What a user calls it.
    summary : str
        One line.
    source : str
        What it reads: ``DIR``, ``FILE`` or ``FILES``.
    Settings : type
        Frozen dataclass of its settings, each an `option`.
    writes : bool
        Whether it may write audio beside the manifest.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str] = "DIR"
    Settings: ClassVar[type] = NoSettings
    writes: ClassVar[bool] = False

    def default_out(self, source: Path) -> Path:
        """Where the manifest goes unless told otherwise: into the folder, or beside the file."""
        return (source if source.is_dir() else source.parent) / "manifest.csv"

    def recognises(self, path: Path) -> bool:
        """Whether `path` looks like such a source; never raises for what is not."""
        return False

    def find(self, sources: Sequence[Path], settings: Any, out: Path) -> Found:
        """Find the clips.

        Parameters
        ----------
        sources : sequence of Path
            One, or several where `source` is ``FILES``.
        settings : Settings
        out : Path
            The manifest to be written; makers that write audio put it beside it.

        Raises
        ------
        ManifestError
            The source is not what it should be; the message says what is missing.
        """
        raise NotImplementedError


def build_settings(maker: Maker, given: dict[str, Any]) -> Any:
    """The maker's settings with the values given.

    Raises
    ------
    ConfigError
        It has no such setting; the nearest is named.
    """
    known = {item.name for item in dataclasses.fields(maker.Settings)}
    for name in given:
        if name not in known:
            raise ConfigError(
                f"manifest {maker.name} has no setting {name!r}; {nearest(name, sorted(known)) if known else 'it has none'}"
            )
    return maker.Settings(**given)


def folder_of(sources: Sequence[Path], maker: Maker) -> Path:
    """The one folder that a maker reads.

    Raises
    ------
    ManifestError
        There is none there.
    """
    path = sources[0]
    if path.is_dir():
        return path
    what = "is a file" if path.exists() else "does not exist"
    raise ManifestError(f"manifest {maker.name} reads a folder; {path} {what}")


def one_label(text: str, where: object) -> str:
    """A single label as a cell of a manifest, in Unicode's composed form.

    Raises
    ------
    ManifestError
        It holds ``|``, or starts with ``?``, which mean something else in a manifest.
    """
    label = unicodedata.normalize("NFC", text).strip()
    if "|" in label or label.startswith("?"):
        raise ManifestError(
            f"the label {label!r} of {where} holds a |, or starts with a ?, which join labels and mark unknown ones in a manifest; rename it"
        )
    return label


def wanted(path: Path, what: str, maker: Maker) -> Path:
    """A file or folder that a published layout has.

    Raises
    ------
    ManifestError
        It is not there.
    """
    if not path.exists():
        raise ManifestError(f"{path} is missing: {what}. Give the folder that holds it ({maker.summary.rstrip('.')})")
    return path
