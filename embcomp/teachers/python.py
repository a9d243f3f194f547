"""Teachers of your own: a class with four members, in any module or file."""

from __future__ import annotations

import importlib.util
import numbers
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from embcomp.audio.decoding import fit_length
from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError, nearest
from embcomp.teachers.own_modules import own_module
from embcomp.teachers.pooled import PooledSettings, PooledTeacher

MEMBERS = {
    "sample_rate": "Hz that clips are decoded at",
    "dim": "width of a vector",
    "fingerprint": "a string, or a method that gives one, which changes with the weights and options",
    "embed": "embed(waveforms, lengths), giving (n, dim) or (n, time, dim)",
}


class PythonTeacher(PooledTeacher):
    """Whatever FACTORY, called without arguments, gives: an object with four members.

    - ``sample_rate``: Hz, a whole number. Clips are decoded at it.
    - ``dim``: width of a vector.
    - ``fingerprint``: a string, or a method that returns one, which changes with whatever changes an embedding.
    - ``embed(waveforms, lengths)``: float32 (n, samples) in [-1, 1], zeros behind each clip's end, and the valid
      samples of each, int64 (n,); returns (n, dim), or (n, time, dim), which is pooled over time.

    Parameters
    ----------
    settings : PooledSettings
        Its argument is ``MODULE:FACTORY`` or ``FILE.py:FACTORY``. Naming one runs its code.

    Examples
    --------
    A file ``loudness.py``, used as ``python:loudness.py:Loudness``::

        class Loudness:
            sample_rate, dim, fingerprint = 8000, 1, "loudness 1"

            def embed(self, waveforms, lengths):
                return ((waveforms**2).sum(1) / lengths)[:, None] ** 0.5
    """

    name = "python"
    summary = "a class of your own with four members: python:MODULE:FACTORY, python:FILE.py:FACTORY"
    runs_code = True

    @dataclass(frozen=True)
    class Settings(PooledSettings):
        def conflict(self) -> str:
            place, _, factory = self.argument.rpartition(":")
            return "" if place and factory else "the teacher 'python' needs a place: python:MODULE:FACTORY"

    def __init__(self, settings: PooledSettings, one: Any):
        self.settings, self._one = settings, one
        if lacking := [member for member in MEMBERS if getattr(one, member, None) is None]:
            what = "; ".join(f"{member} ({MEMBERS[member]})" for member in lacking)
            raise TeacherError(f"{settings.spec} gives a {type(one).__name__} that lacks {what}")
        self.sample_rate, self.width = one.sample_rate, one.dim
        if not isinstance(one.dim, numbers.Integral):
            raise TeacherError(f"{settings.spec}: dim must be a whole number, the width of a vector, not {one.dim!r}")
        if not callable(one.embed):
            raise TeacherError(f"{settings.spec}: embed must be a method, {MEMBERS['embed']}")

    @classmethod
    def open(cls, settings: PooledSettings, manifest: Manifest | None = None) -> PythonTeacher:
        place, _, factory = settings.argument.rpartition(":")
        module = _from_file(Path(place), settings.spec) if place.endswith(".py") else own_module(place, settings.spec)
        if not hasattr(module, factory):
            raise TeacherError(f"{place} has no {factory!r}; {nearest(factory, _public(module))}")
        try:
            return cls(settings, getattr(module, factory)())
        except TeacherError:
            raise
        except Exception as error:  # somebody else's code
            reason = (str(error).strip().splitlines() or [""])[0]
            raise TeacherError(f"{settings.spec}: {factory}() failed ({type(error).__name__}: {reason})") from error

    def content(self) -> object:
        key = self._one.fingerprint
        key = key() if callable(key) else key
        if not isinstance(key, str) or not key:
            raise TeacherError(f"{self.settings.spec}: fingerprint must be {MEMBERS['fingerprint']}, not {key!r}")
        return [self.settings.argument.rpartition(":")[2], key]

    def vectors(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = np.asarray(self._one.embed(*fit_length(list(waveforms))), dtype=np.float32)
        if found.ndim == 2:
            found = found[:, None]
        if found.ndim != 3 or len(found) != len(waveforms) or found.shape[2] != self.width or not found.shape[1]:
            raise TeacherError(
                f"{self.settings.spec}: embed gave shape {found.shape} for {len(waveforms)} clips; it must give "
                f"({len(waveforms)}, {self.width}) or ({len(waveforms)}, time, {self.width})"
            )
        return list(found)


def _from_file(path: Path, spec: str) -> ModuleType:
    """Run a file as a module of its own."""
    if not path.is_file():
        raise TeacherError(f"{spec}: no file at {path}; check the path")
    name = f"embcomp_teacher_{path.stem}"
    about = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(about)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        about.loader.exec_module(module)
    except Exception as error:  # somebody else's code
        del sys.modules[name]
        reason = (str(error).strip().splitlines() or [""])[0]
        raise TeacherError(f"{spec}: {path} does not run ({type(error).__name__}: {reason})") from error
    return module


def _public(module: ModuleType) -> list[str]:
    return [name for name, one in vars(module).items() if callable(one) and not name.startswith("_")]
