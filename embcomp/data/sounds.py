"""Audio files as they lie on disk: where they are, what their headers say, which hold the same bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embcomp.storage.bringing import hash_of, here
from embcomp.storage.imposters import head_of, undecodable

NOT_DECODED = (".m4a", ".mp4", ".aac", ".3gp", ".amr", ".wma", ".webm")
# Looked for in folders; those that cannot be decoded, too, so that they are named and not passed over.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"),
    *NOT_DECODED,
)
UNKNOWN = (1 << 36) - 1  # samples: what headers say that do not know
HEAD = 1 << 16  # bytes: files of one size are compared by these first


@dataclass(frozen=True)
class Sound:
    """What a header says of one file.

    Attributes
    ----------
    seconds : float
        Length; 0 where the header does not tell.
    sample_rate : int
        Hz.
    channels : int
    problem : str
        Why the file cannot be read; empty where it can.
    """

    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    problem: str = ""


def audio_files(folder: str | os.PathLike) -> list[Path]:
    """Audio files in a folder and below, sorted; names that begin with a dot are passed over, links followed.

    Raises
    ------
    OSError
        The folder cannot be listed.
    """
    found: list[Path] = []
    _walk(Path(folder), found, set())
    return sorted(found)


def _walk(folder: Path, found: list[Path], seen: set[str]) -> None:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back up
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                _walk(Path(entry.path), found, seen)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                found.append(Path(entry.path))


def look(path: Path) -> Sound:
    """Read the header of one file; what is wrong with it is returned, not raised."""
    import soundfile

    path = here(path)  # that a remote file cannot be reached says nothing of the file
    try:
        os.fsencode(path).decode("utf-8")
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            return Sound(problem="is a folder, not a file")
        if not stat.S_ISREG(about.st_mode):
            return Sound(problem="is not a regular file")
        if about.st_size == 0:
            return Sound(problem="the file is empty (0 bytes)")
        found = soundfile.info(path)
    except FileNotFoundError:
        return Sound(problem="no such file")
    except UnicodeDecodeError:
        return Sound(problem="its name is not UTF-8; rename it")
    except OSError as error:
        return Sound(problem=f"cannot be read ({error.strerror or error})")
    except (RuntimeError, TypeError, ValueError) as error:
        return Sound(problem=_not_audio(path, error))
    if found.frames <= 0 or found.samplerate <= 0:
        return Sound(0.0, max(found.samplerate, 0), found.channels, "has no samples")
    known = found.frames < UNKNOWN
    return Sound(found.frames / found.samplerate if known else 0.0, found.samplerate, found.channels)


def _not_audio(path: Path, error: Exception) -> str:
    if other := undecodable(head_of(path), path.name):
        return other
    if path.suffix.lower() in NOT_DECODED:
        return f"{path.suffix} is not decoded here: convert it, `ffmpeg -i {path.name} {path.stem}.wav`"
    reason = str(getattr(error, "error_string", "") or error).strip().rstrip(".")
    return f"not readable as audio ({reason or 'damaged'})"


def look_at(
    paths: Iterable[Path], progress: Callable[[int, int], None] | None = None, workers: int = 4
) -> dict[Path, Sound]:
    """Headers of many files, each read once.

    Parameters
    ----------
    progress : callable, optional
        Called with files done and files in all.
    """
    paths = list(dict.fromkeys(paths))
    found: dict[Path, Sound] = {}
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(paths), 256):  # an interruption waits for no more than these
            some = paths[first : first + 256]
            found.update(zip(some, pool.map(look, some)))
            if progress is not None:
                progress(len(found), len(paths))
    return found


def same_content(paths: Sequence[Path]) -> list[list[Path]]:
    """Files with the same bytes, a list for each content that occurs more than once.

    Only files of one size, and then of one beginning, are read whole, so that a large set costs little.
    """

    def size(path: Path) -> int:
        return os.path.getsize(here(path))

    def head(path: Path) -> bytes:
        with open(here(path), "rb") as file:
            return file.read(HEAD)

    alike = [list(dict.fromkeys(paths))]
    for key in (size, head, hash_of):
        alike = [some for group in alike for some in _alike(group, key)]
    return alike


def _alike(paths: list[Path], key: Callable[[Path], object]) -> list[list[Path]]:
    found: dict[object, list[Path]] = {}
    for path in paths:
        try:
            found.setdefault(key(path), []).append(path)
        except OSError:
            continue  # reported by `look`
    return [some for some in found.values() if len(some) > 1]
