"""Who writes to a URL: a small object there names the machine while it writes, so that a second one is refused.

A writer is a cache: processes that share one are kept apart by the locks of the folders in it. Object stores have no lock, but a
writer looks at its mark again and again. So of two machines that begin in the same moment, one notices, and uploads nothing more.

A live writer counts its mark up. Whoever finds one watches it for a while by its own clock that never jumps: the time of day
of two machines is not compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embcomp.errors import BusyError, EmbcompError, EmbcompWarning, RemoteError
from embcomp.storage import cached, remote
from embcomp.storage.alive import is_alive
from embcomp.storage.remote import WRITER

EVERY = 20.0  # seconds between two signs of life
GONE = 150.0  # seconds without a sign of life after which a writer has ended
PAUSE = 2.0  # seconds between two looks at another's mark
MOST = 1 << 16  # bytes of a mark


class _Hold:
    """A URL that this process writes to."""

    def __init__(self, url: str):
        self.url, self.began = url, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self.beats = 0
        self.users = 1
        self.lost = ""  # the writer that has taken over
        self.ended = threading.Event()


_held: dict[str, _Hold] = {}


@contextlib.contextmanager
def writer_of(url: str) -> Iterator[None]:
    """Around all that is written to a folder at a URL.

    Raises
    ------
    BusyError
        Another machine writes there; the message says which, since when, and how to go on where it has crashed.
    RemoteError
        It cannot be reached.
    """
    hold = _begin(url)
    try:
        yield
    finally:
        hold.users -= 1
        if not hold.users:
            _end(hold)


def refuse_lost(url: str) -> None:
    """Refuse to upload where another machine has taken over.

    Raises
    ------
    RemoteError
    """
    for hold in list(_held.values()):
        if hold.lost and (url == hold.url or url.startswith(f"{hold.url}/")):
            raise RemoteError(
                f"{hold.url} was taken over by {hold.lost}; what is finished is kept here, and nothing more was uploaded"
            )


def _begin(url: str) -> _Hold:
    if url in _held:
        _held[url].users += 1
        return _held[url]
    other = _other(url)
    if other and _lives(url, other):
        raise BusyError(
            f"{url} is being written by {_named(other)}; choose another --out, or wait until it has ended; if it "
            f"has, delete {url}/{WRITER}"
        )
    hold = _Hold(url)
    _sign(hold)
    if other := _other(url):
        raise BusyError(f"{url} is being written by {_named(other)}, which began in the same moment; run one of them")
    _held[url] = hold
    threading.Thread(target=_live, args=(hold,), name=f"writer of {url}", daemon=True).start()
    return hold


def _live(hold: _Hold) -> None:
    while not hold.ended.wait(EVERY):
        _look_again(hold)


def _look_again(hold: _Hold) -> None:
    """Renew the mark, or notice that it is another's."""
    with contextlib.suppress(EmbcompError):  # an outage: the next look may do
        other = _other(hold.url)
        if other:
            hold.lost = _named(other)
            hold.ended.set()
        elif not hold.ended.is_set():
            _sign(hold)


def _end(hold: _Hold) -> None:
    hold.ended.set()
    _held.pop(hold.url, None)
    with contextlib.suppress(EmbcompError):  # it then ends by its age
        if not _other(hold.url):
            remote.remove(f"{hold.url}/{WRITER}")
            remote.remove_empty(hold.url)


def _sign(hold: _Hold) -> None:
    mark = {"writer": cached.owner(), "host": platform.node(), "process": os.getpid(), "machine": _machine()}
    hold.beats += 1
    mark |= {"began": hold.began, "beats": hold.beats}
    remote.write(json.dumps(mark).encode(), f"{hold.url}/{WRITER}")


def _other(url: str) -> dict[str, Any]:
    """What the mark of another writer says; empty where there is none."""
    place = f"{url}/{WRITER}"
    try:
        if remote.look(place) is None:
            return {}
        mark = json.loads(remote.read(place, 0, MOST))
        about = {"process": int(mark["process"]), "beats": int(mark["beats"]), "began": str(mark["began"])[:100]}
        return {} if mark["writer"] == cached.owner() else mark | about
    except RemoteError:
        if remote.look(place) is None:  # which was removed in between
            return {}
        raise
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise BusyError(f"{place} does not say who writes there; where nobody does, remove that file") from None


def _lives(url: str, mark: dict[str, Any]) -> bool:
    """Whether a writer is alive: no, if its process was of this machine and is gone, or its mark stays what it is for long."""
    if mark.get("machine") == _machine():
        return is_alive(mark["process"])
    warnings.warn(
        f"{url} has the mark of {_named(mark)}: waiting up to {GONE:.0f} s for a sign of life",
        EmbcompWarning,
        stacklevel=2,
    )
    until = time.monotonic() + GONE
    while time.monotonic() < until:
        time.sleep(PAUSE)
        now = _other(url)
        if not now:
            return False  # it has ended meanwhile
        if (now["writer"], now["beats"]) != (mark["writer"], mark["beats"]):
            return True
    return False


def _machine() -> str:
    """A key of this machine since it was started, and of where its processes are numbered: containers do that by themselves."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _named(mark: dict[str, Any]) -> str:
    return f"{str(mark.get('host'))[:100]!r}, process {mark['process']}, since {mark['began']}"
