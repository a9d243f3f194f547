"""Results that belong to a URL: each is uploaded when it is finished, whatever process finishes it.

Before a file or folder gets its name here, that it is due is written down; a call that is killed before it has been uploaded leaves
that note to the next. A folder is marked as unfinished while its files arrive, so that nobody takes a part of it for the whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from embcomp.errors import ConfigError
from embcomp.storage import cached, remote
from embcomp.storage.places import url_of
from embcomp.storage.writers import refuse_lost

UPLOADING = ".uploading"  # in a remote folder that is not whole yet
TOGETHER = 8  # files uploaded at the same time
READ_ONLY = ("http", "https", "hf")
# What is in writing, locks, what may be made again: hidden names, but for the checkpoint of a student.
_HIDDEN = re.compile(r"/\.(?![^/]*\.checkpoint\.pt$)")


@contextlib.contextmanager
def publishing(path: str | os.PathLike) -> Iterator[None]:
    """Around the step that gives a file or folder its name: where it belongs to a URL, it is uploaded after it.

    Raises
    ------
    RemoteError
        It cannot be uploaded. It is here, and the next call with the same ``--out`` uploads it.
    """
    url = _due(path)
    if url:
        cached.note(url)
    yield
    if url:
        upload(url, Path(path))


def withdraw(path: str | os.PathLike) -> None:
    """Delete a file that is of no more use, here and at its URL."""
    Path(path).unlink(missing_ok=True)
    url = _due(path)
    if url and cached.entry(url).tag:
        refuse_lost(url)
        remote.remove(url)
        cached.forget(url)


def upload(url: str, path: Path) -> None:
    """Upload a file, or a folder with all that is in it, and strike the note that it is due.

    Raises
    ------
    RemoteError
        It cannot be uploaded, or another machine has taken over there.
    """
    refuse_lost(url)
    if path.is_dir():
        _upload_folder(url, path)
    elif path.is_file():
        _upload_file(url, path)
    cached.strike(url)


def upload_changed(url: str, path: Path) -> None:
    """Upload the files of a folder that were written by others than embcomp, as by a library that keeps curves."""
    refuse_lost(url)
    known = cached.known_below(url)
    names = (name for name in _names(path) if not _HIDDEN.search(f"/{name}"))
    _upload_files(
        url,
        path,
        [
            name
            for name in names
            if (about := known.get(f"{url}/{name}")) is None or about.stamp != (path / name).stat().st_mtime_ns
        ],
    )


def refuse_read_only(url: str) -> None:
    """Refuse a URL that results cannot be written to."""
    scheme = url.partition(":")[0]
    if scheme in READ_ONLY:
        raise ConfigError(f"results cannot be written to {scheme}://; name a folder here, or a URL of s3, gs or az")


def _due(path: str | os.PathLike) -> str:
    url = url_of(path)
    return "" if _HIDDEN.search(url) else url


def _upload_folder(url: str, path: Path) -> None:
    mark = f"{url}/{UPLOADING}"
    remote.write(b"", mark)
    names = list(_names(path))
    _upload_files(url, path, names)
    for name in set(remote.listing(url)) - {*names, UPLOADING}:  # of the folder that this one has replaced
        remote.remove(f"{url}/{name}")
        cached.forget(f"{url}/{name}")
    remote.remove(mark)


def _upload_files(url: str, folder: Path, names: Iterable[str]) -> None:
    remote.together(lambda name: _upload_file(f"{url}/{name}", folder / name), names, TOGETHER)


def _upload_file(url: str, path: Path) -> None:
    stamp = path.stat().st_mtime_ns
    info = remote.put(path, url)
    remote.remember(url, info)
    cached.keep(url, cached.Entry(info.tag, True, path.stat().st_size, stamp=stamp))


def _names(folder: Path) -> Iterable[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
