"""The catalogue: teachers that others trained, with where they come from and what they may be used for."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from embcomp.errors import TeacherError


@dataclass(frozen=True)
class File:
    """A file of a teacher.

    Attributes
    ----------
    path : str
        Its address, or its place within the wheel.
    sha256 : str
    """

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """What it is called once it is here."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """One teacher.

    Attributes
    ----------
    name : str
    kind : str
        The teacher that runs it: "onnx".
    argument : str
        What follows the colon; of one whose files are fetched its own name.
    origin : {"wheel", "files", "hub", "torchaudio", "package", "here"}
    domain, signal, licence : str
        The audio and the supervision it was trained with, and what it may be used for.
    megabytes : float
        Of the download.
    sample_rate, dim : int
        Hz, and width of an embedding by default.
    package, sha256 : str
        Requirement of the wheel or package, and the wheel's checksum.
    files : tuple of File
    """

    name: str
    kind: str
    argument: str
    origin: str
    domain: str
    signal: str
    licence: str
    megabytes: float
    sample_rate: int
    dim: int
    package: str = ""
    sha256: str = ""
    files: tuple[File, ...] = ()

    @property
    def spec(self) -> str:
        """``kind:argument``."""
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    @property
    def folder(self) -> Path:
        """Where its files lie once fetched."""
        return cache_folder() / self.name

    @property
    def fetched(self) -> bool:
        """Whether all its files are here; of one without files of its own unknown, hence false."""
        return bool(self.files) and all((self.folder / one.name).is_file() for one in self.files)


def cache_folder() -> Path:
    """Where fetched teachers lie: ``$EMBCOMP_CACHE``, or the user's cache folder."""
    own = os.environ.get("EMBCOMP_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embcomp"
    return base / "teachers"


@cache
def catalogue() -> dict[str, Entry]:
    """Every entry, by name."""
    text = (files("embcomp.teachers") / "catalogue.toml").read_text(encoding="utf-8")
    return {name: _entry(name, dict(table)) for name, table in tomllib.loads(text).items()}


def _entry(name: str, table: dict) -> Entry:
    kind, _, argument = table.pop("spec").partition(":")
    parts = tuple(File(**one) for one in table.pop("files", ()))
    return Entry(name, kind, name if parts else argument, table.pop("from"), files=parts, **table)


@cache
def specs() -> dict[str, str]:
    """What each entry's name stands for: ``onnx:google-speech-embedding``."""
    return {name: entry.spec for name, entry in catalogue().items()}


def fetched_folder(name: str) -> Path | None:
    """The folder of an entry with files of its own; None where there is no such entry.

    Raises
    ------
    TeacherError
        It is not fetched yet.
    """
    entry = catalogue().get(name)
    if entry is None or not entry.files:
        return None
    if not entry.fetched:
        raise TeacherError(
            f"{name} is not on this machine ({entry.megabytes:g} MB): get it with `embcomp teachers fetch {name}`"
        )
    return entry.folder
