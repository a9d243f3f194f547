"""What a finished run was made of, written down in its folder: asked again, it is answered at once, if all is as it was.

All is as it was when the request, the program and the packages, every manifest and label map, every clip and every file that the run
left are the same. Inputs are compared by their content, as a run does, what the run left by the size and times of each file. Anything
else is left to a run, which finds out what has changed. Nothing here imports more than the standard library.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcomp.errors import EmbcompError
from embcomp.pipeline.environment import versions
from embcomp.storage.files import file_hash, fingerprint, read_json, write_json
from embcomp.storage.members import member_of
from embcomp.storage.places import is_url, join, url_of

if TYPE_CHECKING:
    from embcomp.config import RunConfig
    from embcomp.data.manifest import Manifest

FILE = ".finished.json"
VERSION = 1  # raised when something else is written down
PACKAGE = Path(__file__).resolve().parents[1]
MOST_CLIPS = 200_000  # that are written down


def program() -> str:
    """Key of this program, its files and the versions of what it computes with."""
    files = {
        name: [about.st_size, about.st_mtime_ns]
        for name, about in _below(PACKAGE)
        if not name.endswith((".pyc", ".pyo")) and "__pycache__" not in name
    }
    return fingerprint([VERSION, versions(), str(PACKAGE), files])


def request(config: Path, overrides: Iterable[str]) -> str:
    """Key of a file of settings, its content and changes to it; empty where it cannot be read, or is remote."""
    try:
        if url_of(config) or not config.is_file():
            return ""
        return fingerprint([program(), os.path.abspath(config), os.getcwd(), file_hash(config), list(overrides)])
    except (OSError, ValueError):
        return ""


def answer(folder: Path, asked: str) -> dict[str, Any] | None:
    """What was said when the run in `folder` had been asked for so and finished; None where anything is not as it was."""
    if not asked or is_url(folder) or url_of(folder):
        return None
    content = _read(folder)
    try:
        found = content["answers"][asked]
        same = (
            content["program"] == program()
            and _intact(folder, content["files"])
            and all(_same_input(*one) for one in content["inputs"])
            and _same_clips(content["clips"])
        )
    except (LookupError, TypeError, ValueError, AttributeError, OSError):
        return None
    return found if same and isinstance(found, dict) else None


def add_answer(folder: Path, asked: str, given: str, said: dict[str, Any]) -> None:
    """Write down what was said of the finished run in `folder`.

    Parameters
    ----------
    asked : str
        From `request`.
    given : str
        `key_of` the settings that were run: another process may have run others there since.
    said : dict
        JSON-able.
    """
    content = _read(folder)
    if asked and content and content.get("given") == given and isinstance(content.get("answers"), dict):
        content["answers"][asked] = said
        _write(folder, content)


def key_of(config: RunConfig) -> str:
    """Key of settings as they were asked for."""
    from embcomp.config import to_dict

    return fingerprint(to_dict(config))


class Record:
    """Written down at the end of a run, and gone while another one is in progress.

    Parameters
    ----------
    config : RunConfig
        As it was asked for.
    files : iterable of Path
        What the settings name beside clips: manifests, a label map. They are hashed now, before they are read.
    """

    def __init__(self, config: RunConfig, files: Iterable[Path]):
        self._given, self._program = key_of(config), program()
        self._wanted = _recordable(config)
        self._inputs = [_input(path) for path in files] if self._wanted else []
        self._clips: dict[str, list[Any]] = {}
        self._before: dict[str, Any] = {}

    def begin(self, folder: Path) -> None:
        """Take away what the last run wrote down; nobody else may write the folder."""
        content = _read(folder)
        with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError, OSError):
            if content["program"] == self._program and _intact(folder, content["files"]):
                self._before = content
        with contextlib.suppress(OSError):
            (folder / FILE).unlink(missing_ok=True)

    def add_clips(self, manifest: Manifest, hashes: Sequence[str]) -> None:
        """Write down the clips of a data set, usable or not, with their content keys."""
        if self._wanted:
            self._wanted = _add_clips(self._clips, manifest, hashes)

    def written(self, results: str) -> bool:
        """Whether results of this key are there, untouched."""
        return bool(results) and self._before.get("results") == results

    def end(self, folder: Path, results: str) -> None:
        """Write it down, unless an input changed meanwhile or cannot be compared without a run."""
        with contextlib.suppress(OSError):
            if self._wanted and self._clips and all(one and _same_input(*one) for one in self._inputs):
                self._end(folder, results)

    def _end(self, folder: Path, results: str) -> None:
        same = self.written(results) and self._before.get("given") == self._given
        answers = self._before.get("answers") if same else None
        content = {"program": self._program, "given": self._given, "results": results, "inputs": self._inputs}
        content |= {"clips": self._clips, "files": _signatures(folder), "answers": answers or {}}
        _write(folder, content)


def _recordable(config: RunConfig) -> bool:
    """Whether a run depends on nothing but its manifests, a label map, clips, this program and its packages."""
    variants = config.variants
    chosen = [one for variant in variants for one in (variant.teacher, variant.transfer, variant.student)]
    return (
        config.engine == "local"
        and config.device == "cpu"
        and config.data.inputs in ("audio", "auto")
        and not is_url(config.data.root or ".")
        and all(one.choice.__module__.startswith("embcomp.") for one in chosen)
        and all(one.learns for variant in variants for one in variant.teacher.members or (variant.teacher,))
        and all(variant.training.log == "none" for variant in variants)
    )


def _add_clips(known: dict[str, list[Any]], manifest: Manifest, hashes: Sequence[str]) -> bool:
    """Add by folder: where its links lead, the hash of each file, and where those lead that are links.

    False where there is more to a clip: one in an archive, at a URL, missing.
    """
    for row, (name, key) in enumerate(zip(manifest.table["path"].tolist(), hashes)):
        path, (file, mark, _) = manifest.audio_path(row), key.partition("#")
        # A part of a file is known by the file's hash and its place.
        plain = not url_of(path) and member_of(path) is None and path == join(manifest.folder, name)
        if not plain or file == "unreadable" or (mark and manifest.interval(row) == (None, None)):
            return False
        folder = str(path.parent)
        if folder not in known:
            known[folder] = [os.path.realpath(folder), {}, {}]
        _, files, links = known[folder]
        if files.setdefault(path.name, file) != file:
            return False
        if os.path.islink(path):
            links[path.name] = os.path.realpath(path)
    return sum(len(files) for _, files, _ in known.values()) <= MOST_CLIPS


def _same_clips(clips: dict[str, list[Any]]) -> bool:
    def same(one: tuple[str, str, str]) -> bool:
        path, key, link = one
        about = os.lstat(path)
        if link:
            return os.path.realpath(path) == link and os.path.isfile(path) and file_hash(path) == key
        return stat.S_ISREG(about.st_mode) and file_hash(path) == key

    if not all(os.path.realpath(folder) == real for folder, (real, _, _) in clips.items()):
        return False
    files = (
        (os.path.join(folder, name), key, links.get(name, ""))
        for folder, (_, names, links) in clips.items()
        for name, key in names.items()
    )
    # Hashing and reading release the interpreter lock.
    with ThreadPoolExecutor(2) as pool:
        while some := list(islice(files, 256)):
            if not all(pool.map(same, some)):
                return False
    return True


def _input(path: Path) -> list[str] | None:
    try:
        if url_of(path) or not os.path.isfile(path):
            return None
        return [os.path.abspath(path), os.path.realpath(path), file_hash(path)]
    except (OSError, ValueError):
        return None


def _same_input(path: str, real: str, key: str) -> bool:
    return os.path.realpath(path) == real and os.path.isfile(path) and file_hash(path) == key


def _below(folder: str | os.PathLike, start: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Files below a folder that are not hidden, by name, each with what the system knows of it."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, f"{start}{entry.name}/")
            else:
                yield start + entry.name, os.stat(entry.path, follow_symlinks=False)


def _signatures(folder: Path) -> dict[str, list[int]]:
    return {name: _signature(about) for name, about in _below(folder)}


def _signature(about: os.stat_result) -> list[int]:
    # The time of the last change of any kind cannot be set back, as that of the last writing can.
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _intact(folder: Path, files: dict[str, list[int]]) -> bool:
    """Whether every file that a run left is as it was; further files are not its own."""
    found = _signatures(folder)
    return all(found.get(name) == about for name, about in files.items())


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        content = read_json(path) if path.is_file() else {}
    except (OSError, ValueError, EmbcompError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(folder: Path, content: dict[str, Any]) -> None:
    """Without it, the next call runs: nothing is lost where it cannot be written."""
    with contextlib.suppress(EmbcompError, ValueError):
        write_json(folder / FILE, content)
