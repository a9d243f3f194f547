"""The audio files that a user names: files, folders, patterns, standard input."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from embcomp.data.sounds import SUFFIXES
from embcomp.errors import AudioError
from embcomp.storage.bringing import is_there
from embcomp.storage.places import is_url, named, path_of, url_of
from embcomp.storage.remote import listing

STANDARD_INPUT = "-"


@contextlib.contextmanager
def with_standard_input(paths: Iterable[str]) -> Iterator[tuple[list[str], Callable[[Path], str]]]:
    """Put what comes through standard input where ``-`` is named into a file, as decoding looks back and forth.

    Yields
    ------
    paths : list of str
        With the file in the place of ``-``.
    shown : callable
        From a path to how it is called in results: ``-``, or as it is.
    """
    paths = list(paths)
    if STANDARD_INPUT not in paths:
        yield paths, named
        return
    with tempfile.NamedTemporaryFile(prefix="embcomp-") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept, 1 << 20)
        kept.flush()
        name = kept.name
        replaced = [name if path == STANDARD_INPUT else path for path in paths]
        yield replaced, lambda path: STANDARD_INPUT if str(path) == name else named(path)


def audio_files(paths: Iterable[str | os.PathLike] | str | os.PathLike, recursive: bool = False) -> list[Path]:
    """The files that `paths` name, each once.

    Parameters
    ----------
    paths : path or iterable of paths
        Also URLs. A file is taken as it is, whatever its name; of a folder all audio files in it (by suffix; hidden ones are
        not), sorted; a pattern with ``*``, ``?`` or ``[]`` is expanded, ``**`` into sub-folders.
    recursive : bool, default=False
        Take the audio files of sub-folders, too.

    Raises
    ------
    AudioError
        A folder without audio, or a pattern that matches nothing. A missing file is reported when it is read.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: dict[Path, None] = {}
    for given in map(os.fspath, paths):
        if is_url(given):
            found |= dict.fromkeys(_remote(given, recursive))
            continue
        path = Path(given)
        if not path.exists() and glob.has_magic(given):
            matches = sorted(Path(name) for name in glob.glob(given, recursive=True))
            if not matches:
                raise AudioError(f"no file matches {given!r}; check the pattern, and the folder it starts from")
            for match in matches:
                found |= dict.fromkeys(_inside(match, recursive) if match.is_dir() else [match])
        elif path.is_dir():
            inside = _inside(path, recursive)
            if not inside:
                hint = "" if recursive else "; --recursive looks into its sub-folders, too"
                raise AudioError(f"{path} holds no audio file ({' '.join(SUFFIXES[:6])} ...){hint}")
            found |= dict.fromkeys(inside)
        else:
            found[path] = None
    if not found:
        raise AudioError("no audio file given; name files, folders or patterns")
    return list(found)


def _remote(url: str, recursive: bool) -> list[Path]:
    """The file at a URL, or the audio files in a folder there."""
    path = path_of(url)
    if is_there(path):
        return [path]
    names = [name for name in listing(url_of(path)) if recursive or "/" not in name]
    return [path / name for name in names if is_audio(Path(name))] or [path]


def is_audio(path: Path) -> bool:
    """Whether a file in a folder counts as audio, by its name."""
    # Copies from a Mac hold a hidden "._NAME.wav" beside every NAME.wav, which is no audio.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _inside(folder: Path, recursive: bool) -> list[Path]:
    names = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(path for path in names if is_audio(path) and path.is_file())
