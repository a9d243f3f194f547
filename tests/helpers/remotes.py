"""Remote file systems for tests: fsspec's memory, and a folder by its file:// URL."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from embcomp.storage import bringing, cached, remote


def upload(folder: Path, url: str) -> str:
    """Put the files of a folder at a URL, which is returned."""
    system, place = fsspec.core.url_to_fs(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = f"{place}/{path.relative_to(folder).as_posix()}"
            system.makedirs(name.rpartition("/")[0], exist_ok=True)
            system.pipe_file(name, path.read_bytes())
    return url


def contents(url: str) -> dict[str, bytes]:
    """Names and bytes of all files below a URL."""
    system, place = fsspec.core.url_to_fs(url)
    found = system.find(place)
    return {name[name.index(place.strip("/")) + len(place.strip("/")) + 1 :]: system.cat_file(name) for name in found}


def forget_looks() -> None:
    """Have remote files looked at again, as a new process does."""
    remote._looks.clear()


class Traffic:
    """Counts what is read from the remote systems of this process.

    Attributes
    ----------
    reads : list of (str, int, int or None)
        URL, first byte, and the byte behind the last, of each read.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.reads: list[tuple[str, int, int | None]] = []
        self.bytes = 0
        real = bringing.remote.read

        def read(url: str, start: int = 0, stop: int | None = None) -> bytes:
            content = real(url, start, stop)
            self.reads.append((url, start, stop))
            self.bytes += len(content)
            return content

        monkeypatch.setattr(bringing.remote, "read", read)


def fresh_cache(folder: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: float = 1.0) -> Path:
    """A cache of its own, empty, as on a machine that has never seen a remote file."""
    monkeypatch.setenv("EMBCOMP_CACHE", str(folder))
    monkeypatch.setenv(cached.LIMIT, str(gigabytes))
    monkeypatch.setattr(cached, "_pins", {})
    cached._local.__dict__.pop("held", None)
    forget_looks()
    return folder
