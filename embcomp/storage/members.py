"""Files inside tar archives, as WebDataset packs them: found by an index and read by their place, never unpacked as a whole."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tarfile
import tempfile
import threading
from collections import deque
from pathlib import Path

from embcomp.errors import ManifestError

LARGEST = 2 << 30  # bytes of one file
MOST = 5_000_000  # files of one archive
HELD = 16  # files that each thread keeps, the newest ones
_MEMBER = re.compile(r"(.+?\.tar)[/\\](.+)", re.DOTALL | re.IGNORECASE)
_local = threading.local()


def member_of(path: str | os.PathLike) -> tuple[Path, str] | None:
    """The archive and the name in it of ``clips.tar/a.wav``; None of any other path, and where ``clips.tar`` is a folder."""
    given = os.fspath(path)
    if not isinstance(given, str) or ".tar" not in given.lower():
        return None
    found = _MEMBER.fullmatch(given)
    if found is None or os.path.isdir(found[1]):
        return None
    return Path(found[1]), found[2].replace(os.sep, "/")


def members(archive: Path) -> dict[str, tuple[int, int]]:
    """Where each file of an archive begins in it, and its bytes.

    Raises
    ------
    ManifestError
        It is no plain tar, is cut off, or holds links, names that lead out of it, a name twice, or files too large or many.
    OSError
        It cannot be read.
    """
    about = os.stat(archive)
    return _members(str(archive), about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _members(archive: str, size: int, stamp: int) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(archive, "r:") as file:
            for one in file:
                if problem := _problem(one, found):
                    raise ManifestError(f"{archive}: {problem}")
                if one.isreg():
                    found[one.name.removeprefix("./")] = (one.offset_data, one.size)
                end = one.offset_data + (one.size + 511) // 512 * 512
                if end > size:
                    raise ManifestError(f"{archive} is cut off within {one.name!r}; copy it again")
                file.members = []  # the index is all that is kept
    except tarfile.TarError as error:
        mend = "; unpack it first: gunzip or unzstd" if archive.lower().endswith((".gz", ".zst", ".xz", ".bz2")) else ""
        raise ManifestError(f"{archive} is no plain tar, or damaged ({error}){mend}") from None
    with open(archive, "rb") as file:
        file.seek(max(0, size - 512))
        if size % 512 or file.read().strip(b"\0"):
            raise ManifestError(f"{archive} is cut off: the mark of its end is missing; copy it again")
    return found


def _problem(one: tarfile.TarInfo, found: dict[str, tuple[int, int]]) -> str:
    name = one.name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
        return f"the name {one.name!r} leads out of the archive; it is not used"
    if one.isdir():
        return ""
    if not one.isreg() or one.issparse():
        return f"{one.name!r} is no plain file but a link, a device or sparse; pack the files themselves"
    if name in found:
        return f"the name {name!r} is there twice"
    if one.size > LARGEST or len(found) >= MOST:
        return f"more than {LARGEST >> 30} GB in a file, or {MOST} files"
    return ""


def read_member(archive: Path, name: str) -> bytes:
    """The bytes of a file in an archive.

    Raises
    ------
    FileNotFoundError
        There is none of that name.
    """
    start, size = _place(archive, name)
    with open(archive, "rb") as file:
        file.seek(start)
        return file.read(size)


def opened_member(archive: Path, name: str) -> Path:
    """A copy of one file of an archive, which stays until this thread has opened several others."""
    start, size = _place(archive, name)
    about = os.stat(archive)
    key = (str(archive), name, about.st_mtime_ns)
    held: deque[tuple[tuple, Path]] = _local.__dict__.setdefault("held", deque())
    for known, path in held:
        if known == key and path.exists():
            return path
    folder = Path(tempfile.mkdtemp(dir=_scratch()))
    path = folder / name.rpartition("/")[2]
    with open(archive, "rb") as file, open(path, "wb") as copy:
        file.seek(start)
        while size > 0 and (block := file.read(min(size, 1 << 20))):
            copy.write(block)
            size -= len(block)
    held.append((key, path))
    if len(held) > HELD:
        shutil.rmtree(held.popleft()[1].parent, ignore_errors=True)
    return path


def _place(archive: Path, name: str) -> tuple[int, int]:
    try:
        return members(archive)[name]
    except KeyError:
        raise FileNotFoundError(2, "no such file in the archive", f"{archive}/{name}") from None


@functools.lru_cache(maxsize=4)
def _scratch_of(process: int) -> str:
    folder = tempfile.mkdtemp(prefix="embcomp-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _scratch() -> str:
    return _scratch_of(os.getpid())
