"""The cache of remote files: which copies are here, of what, and which go when there are too many.

Several processes share it. A copy takes its name when it is whole; one that is open here is not dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from embcomp.errors import ConfigError
from embcomp.storage.places import FILES, cache_folder, path_of

if TYPE_CHECKING:
    import sqlite3

    from filelock import FileLock

LIMIT = "EMBCOMP_CACHE_GB"  # the variable that says how large the cache may be
DEFAULT_GB = 20.0
ENOUGH = 0.9  # of the limit is left when files are dropped
HELD = 16  # files that each thread keeps from being dropped, the newest ones

_SCHEMA = """
create table if not exists files (url text primary key, tag text, whole integer, bytes integer, hash text, parts text, stamp integer);
create table if not exists due (url text primary key);
create table if not exists total (bytes integer);
insert into total select 0 where not exists (select 1 from total);
create table if not exists owner (name text);
insert into owner select lower(hex(randomblob(8))) where not exists (select 1 from owner);
"""
_COLUMNS = "tag, whole, bytes, hash, parts, stamp"
_local = threading.local()


@dataclass
class Entry:
    """What is known of the copy of a file.

    Attributes
    ----------
    tag : str
        The version that it is a copy of.
    whole : bool
        Whether all of it is here.
    bytes : int
        On this disk.
    hash : str
        As `embcomp.storage.files.file_hash` gives it; empty where nobody has asked.
    parts : list of (int, int)
        Ranges of bytes that are here of a file that is not whole.
    stamp : int
        When the copy was last written, ns, as it was when both were the same.
    """

    tag: str = ""
    whole: bool = False
    bytes: int = 0
    hash: str = ""
    parts: list[tuple[int, int]] = field(default_factory=list)
    stamp: int = 0


def _read(row: tuple) -> Entry:
    tag, whole, size, key, parts, stamp = row
    return Entry(tag, bool(whole), size, key, [(low, high) for low, high in json.loads(parts)], stamp)


def limit() -> int:
    """How large the cache may be, bytes.

    Raises
    ------
    ConfigError
        ``EMBCOMP_CACHE_GB`` is no size.
    """
    given = os.environ.get(LIMIT, "")
    try:
        size = float(given or DEFAULT_GB)
        if not 0 < size < 1e9:
            raise ValueError
    except ValueError:
        raise ConfigError(f"{LIMIT} = {given!r} is no number of gigabytes above 0") from None
    return int(size * 1e9)


def entry(url: str) -> Entry:
    """What is known of a copy; an empty entry of one that never was here."""
    rows = _asked(f"select {_COLUMNS} from files where url = ?", url)
    return _read(rows[0]) if rows else Entry()


def keep(url: str, now: Entry) -> None:
    """Remember what is here of a file."""
    with _changing() as database:
        before = database.execute("select bytes from files where url = ?", (url,)).fetchone()
        database.execute(
            "insert or replace into files values (?, ?, ?, ?, ?, ?, ?)",
            (url, now.tag, now.whole, now.bytes, now.hash, json.dumps(now.parts), now.stamp),
        )
        database.execute("update total set bytes = bytes + ?", (now.bytes - (before[0] if before else 0),))


def forget(url: str) -> None:
    """Remember nothing of a file that is not there any more."""
    with _changing() as database:
        database.execute(
            "update total set bytes = bytes - (select coalesce(sum(bytes), 0) from files where url = ?)", (url,)
        )
        database.execute("delete from files where url = ?", (url,))


def known_below(url: str) -> dict[str, Entry]:
    """What is known of files in a folder, by their URLs."""
    start = url.rstrip("/") + "/"
    rows = _asked(f"select url, {_COLUMNS} from files where substr(url, 1, ?) = ?", len(start), start)
    return {row[0]: _read(row[1:]) for row in rows}


def note(url: str) -> None:
    """Write down that a result is due to be uploaded."""
    with _changing() as database:
        database.execute("insert or ignore into due values (?)", (url,))


def strike(url: str) -> None:
    """Strike the note of a result that has been uploaded, and of those in it."""
    with _changing() as database:
        database.execute("delete from due where url = ? or substr(url, 1, ?) = ?", (url, len(url) + 1, f"{url}/"))


def due_below(url: str) -> list[str]:
    """Results at a URL, or in the folder there, that are due; the outer ones first."""
    rows = _asked(
        "select url from due where url = ? or substr(url, 1, ?) = ? order by url", url, len(url) + 1, f"{url}/"
    )
    return [row[0] for row in rows]


def owner() -> str:
    """A name of this cache that no other has."""
    return _asked("select name from owner")[0][0]


def ranges_of(path: Path) -> Path:
    """Where the ranges of a file lie of which not all is here, beside the place of its whole copy."""
    return cache_folder() / "ranges" / path.relative_to(cache_folder() / FILES)


@contextlib.contextmanager
def locked(url: str, wait: bool = True) -> Iterator[None]:
    """One process, and one thread of it, at a time brings a file; files that share a lock wait for each other, too.

    Raises
    ------
    BlockingIOError
        Without `wait`, somebody else has the lock.
    """
    from filelock import Timeout

    lock = _file_lock(f"{_number(url) % 256:02x}")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except (Timeout, RuntimeError):  # the second where this thread has it itself
        if wait:
            raise
        raise BlockingIOError from None
    try:
        yield
    finally:
        lock.release()


def partial(url: str, tag: str) -> Path:
    """Where a version of a file lies while it is brought; what an interrupted call left is gone on with."""
    folder = cache_folder() / "partial"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{_number(url):016x}-{tag}"


def hold(path: Path) -> bool:
    """Keep a copy from being dropped until this thread has held several others; False where there is none."""
    held: deque[IO[bytes]] = _local.__dict__.setdefault("held", deque())
    try:
        file = open(path, "rb")  # noqa: SIM115, closed when others have taken its place
    except FileNotFoundError:
        return False
    _lock(file, exclusive=False)
    about = os.fstat(file.fileno())
    try:
        same = os.stat(path).st_ino == about.st_ino
    except FileNotFoundError:
        same = False
    if not same:  # dropped in between
        file.close()
        return False
    with contextlib.suppress(OSError):  # when it was used last, by the clock of the file system
        os.utime(path)
        os.utime(path, ns=(os.stat(path).st_atime_ns, about.st_mtime_ns))
    held.append(file)
    if len(held) > HELD:
        held.popleft().close()
    return True


_pins: dict[str, IO[bytes]] = {}


def pin(url: str) -> None:
    """Keep a folder, or a file, from being dropped as long as this process lives."""
    if url in _pins:
        return
    folder = cache_folder() / "pins"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{os.getpid()}-{_number(url):016x}"
    file = open(path, "w+b")  # noqa: SIM115, open as long as the process lives
    _lock(file, exclusive=False)
    file.write(url.encode())
    file.flush()
    _pins[url] = file


def make_room(size: int) -> None:
    """Drop the copies that were not used for longest, until `size` more bytes are within the limit.

    What is in use stays, even beyond the limit.
    """
    most = limit()
    if _asked("select bytes from total")[0][0] + size <= most:
        return
    pinned = _pinned()
    used = []
    for url, stored in _asked("select url, bytes from files where bytes > 0"):
        if any(url == one or url.startswith(one.rstrip("/") + "/") for one in pinned):
            continue
        path = path_of(url)
        try:
            used.append((os.stat(path if path.exists() else ranges_of(path)).st_atime_ns, url, stored))
        except OSError:
            used.append((0, url, stored))
    there = _asked("select bytes from total")[0][0]
    for _, url, stored in sorted(used):
        if there + size <= ENOUGH * most:
            break
        if _drop(url):
            there -= stored


def _drop(url: str) -> bool:
    path = path_of(url)
    try:
        with locked(url, wait=False):
            for copy in (path, ranges_of(path)):
                with contextlib.suppress(FileNotFoundError), open(copy, "rb") as file:
                    if not _lock(file, exclusive=True):
                        return False
                    copy.unlink()
            now = entry(url)
            keep(url, Entry(now.tag, hash=now.hash))  # the hash of a version stays true
    except OSError:
        return False
    return True


def _pinned() -> Sequence[str]:
    found = []
    for path in (cache_folder() / "pins").glob("*"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if str(path.name).startswith(f"{os.getpid()}-") or not _lock(file, exclusive=True):
                found.append(file.read().decode())
            else:
                path.unlink()  # whose process has ended
    return found


def _lock(file: IO[Any], exclusive: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows drops no file that is open
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    except OSError:
        return not exclusive  # a file system without locks: nothing is dropped there
    return True


def _number(url: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(url.encode()).digest()[:8])


def _connection() -> sqlite3.Connection:
    import sqlite3  # late: every command imports this file, and few name a URL

    path = cache_folder() / "copies.sqlite"
    mine = (os.getpid(), str(path))
    if getattr(_local, "of", None) != mine or not path.exists():
        # The first of several that open a new database changes its kind of journal, which the others do not wait for.
        with _file_lock("copies").acquire(poll_interval=0.005):
            for attempt in range(2):
                database = sqlite3.connect(path, timeout=120, isolation_level=None)
                try:
                    database.execute("pragma journal_mode = wal")
                    database.execute("pragma synchronous = normal")
                    database.executescript(_SCHEMA)
                    break
                except sqlite3.OperationalError:
                    raise
                except sqlite3.DatabaseError:  # damaged: copies are brought again
                    database.close()
                    if attempt:
                        raise
                    for name in ("copies.sqlite", "copies.sqlite-wal", "copies.sqlite-shm"):
                        path.with_name(name).unlink(missing_ok=True)
        _local.of, _local.database = mine, database
    return _local.database


def _file_lock(name: str) -> FileLock:
    from filelock import FileLock

    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{name}.lock", thread_local=False)


def _asked(question: str, *values: Any) -> list[tuple]:
    return _connection().execute(question, values).fetchall()


@contextlib.contextmanager
def _changing() -> Iterator[sqlite3.Connection]:
    database = _connection()
    database.execute("begin immediate")
    try:
        yield database
    except BaseException:
        database.execute("rollback")
        raise
    database.execute("commit")
