"""What embcomp raises.

Every error is an :class:`EmbcompError` and also the builtin error a caller
already catches. Messages name what is wrong and how to fix it.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Chosen = TypeVar("Chosen")


class EmbcompError(Exception):
    """Base of everything embcomp raises on purpose."""


class ConfigError(EmbcompError, ValueError):
    """A configuration key is unknown, mistyped or out of range."""


class DataError(EmbcompError, ValueError):
    """Arrays do not fit: shapes, NaN or infinite rows, labels, class counts."""


class ManifestError(EmbcompError, ValueError):
    """A manifest cannot be read or does not hold what is asked of it."""


class StoreError(EmbcompError, ValueError):
    """A store is missing, damaged, or was made from something else."""


class BusyError(StoreError):
    """Another process is writing there."""


class ArtifactError(EmbcompError, ValueError):
    """A saved compressor, student or teacher is missing, damaged or of another kind."""


class TeacherError(EmbcompError, RuntimeError):
    """A teacher cannot be opened, or what it gives is no embedding."""


class MissingDependencyError(EmbcompError, ImportError):
    """An optional package is needed; the message names the install command."""


class RemoteError(EmbcompError, RuntimeError):
    """A remote file cannot be reached, read or written."""


class ProcessLostError(EmbcompError, RuntimeError):
    """Another process that this one trains together with has ended."""


class EmbcompWarning(UserWarning):
    """Something that a reader of the results must know, although work goes on."""


@dataclass(frozen=True)
class BadClip:
    """One clip that cannot be used.

    Attributes
    ----------
    row : int
        Line of the manifest, the header being line 1.
    path : str
        Path as written in the manifest.
    reason : str
        What is wrong, in words.
    """

    row: int
    path: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.path}: {self.reason}"


class AudioError(EmbcompError, ValueError):
    """One audio file, or several clips of a manifest, cannot be used.

    Parameters
    ----------
    message : str
        What is wrong and how to fix it.
    bad : sequence of BadClip, default=()
        The clips, where the error is about a manifest.
    """

    def __init__(self, message: str, bad: Sequence[BadClip] = ()):
        super().__init__(message)
        self.bad = tuple(bad)


def refuse_bad(
    bad: Sequence[BadClip], count: int, skip_bad: bool, what: str, written: Callable[[BadClip], str] = str
) -> None:
    """Name every one of `count` clips, files or rows that cannot be used, unless some are left and may stay.

    Raises
    ------
    AudioError
    """
    if bad and (not skip_bad or len(bad) == count):
        listing = "\n".join(f"  {written(clip)}" for clip in bad)
        advice = "" if len(bad) == count else "\nMend them, or leave them out with --skip-bad"
        raise AudioError(f"{len(bad)} of {count} {what} cannot be used:\n{listing}{advice}", bad)


MENDS = {
    errno.ENOSPC: "make room there and run again",
    errno.EDQUOT: "your share of that disk is used up: make room there and run again",
    errno.EFBIG: "no file may grow as large there: raise the limit (ulimit -f), or choose another disk",
    errno.EACCES: "choose another place, or have its permissions changed",
    errno.EPERM: "choose another place, or have its permissions changed",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def why(error: Exception) -> str:
    """What the system said of a file, and what to do about it.

    Examples
    --------
    >>> why(OSError(28, "No space left on device"))
    'No space left on device; make room there and run again'
    """
    said = str(getattr(error, "strerror", None) or error)
    mend = MENDS.get(getattr(error, "errno", None) or 0)
    return f"{said}; {mend}" if mend else said


def counted(count: int, one: str, several: str = "") -> str:
    """A count and what is counted, in the singular or plural.

    Examples
    --------
    >>> counted(1, "error"), counted(2, "error"), counted(1_000, "clip is", "clips are")
    ('1 error', '2 errors', '1000 clips are')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"


def nearest(name: str, choices: Iterable[str]) -> str:
    """Say which of `choices` was probably meant.

    Examples
    --------
    >>> nearest("liner", ["linear", "mlp"])
    "did you mean 'linear'? One of: linear, mlp"
    """
    choices = [str(choice) for choice in choices]
    listing = "One of: " + ", ".join(choices)
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? {listing}" if close else listing


def choose(kind: str, name: str, table: Mapping[str, Chosen]) -> Chosen:
    """Look `name` up in the dict `table`, or raise ConfigError naming the nearest.

    Parameters
    ----------
    kind : str
        What is being chosen, for the message: ``"transfer method"``.
    """
    try:
        return table[name]
    except (KeyError, TypeError):
        raise ConfigError(f"unknown {kind} {name!r}: {nearest(name, table)}") from None
