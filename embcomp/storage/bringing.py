"""Remote files brought here: whole, or of a long recording the part that is asked for."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from embcomp.errors import RemoteError, why
from embcomp.storage import cached, remote
from embcomp.storage.cached import Entry
from embcomp.storage.files import file_hash
from embcomp.storage.members import member_of, members, opened_member
from embcomp.storage.places import is_url, named, path_of, url_of
from embcomp.storage.publishing import UPLOADING

BLOCK = 8 << 20  # bytes read at once
PIECE = 1 << 16  # bytes; ranges begin and end at multiples of it
WHOLE = 1 << 20  # bytes; smaller files are brought whole
MARGIN = 0.05  # seconds brought beside those that are asked for
TAIL = 1 << 20  # bytes behind the samples that are brought, too
STREAMED = 8  # files of more than 1/8 of the cache are hashed without being kept
TOGETHER = 16  # files brought at the same time


def here(path: str | os.PathLike, start: float | None = None, stop: float | None = None, fresh: bool = False) -> Path:
    """A file that can be opened: `path` itself, or the copy of a remote file, brought if it is not there.

    Parameters
    ----------
    path : path
        Of this machine, or from `embcomp.storage.places.path_of`; ``clips.tar/a.wav`` is a file in an archive.
    start, stop : float, optional
        The seconds of a recording that will be read; of a long WAV only these are brought. None is the file's own.
    fresh : bool, default=False
        Look whether the file has changed, even if that was done a moment ago.

    Returns
    -------
    Path
        Of a remote file that is missing, one at which nothing is.

    Raises
    ------
    RemoteError
        It cannot be brought.
    """
    if inside := member_of(path):
        archive = here(inside[0], fresh=fresh)
        try:
            return opened_member(archive, inside[1])
        except FileNotFoundError:
            return Path(path)
    url = url_of(path)
    path = path if isinstance(path, Path) else Path(path)
    if not url:
        return path
    if fresh:
        remote.forget(url)
    info = remote.looked(url)
    if info is None or info.folder:
        _gone(url, path)
        return path
    if (start or stop is not None) and info.size > WHOLE and not _is_whole(url, path, info):
        part = _ranged(url, path, info, start or 0.0, stop)
        if part is not None:
            return part
    _bring(url, path, info)
    return path


def brought(path: str | os.PathLike) -> Path:
    """What a user named, so that it can be opened: of a URL the file, or the folder with everything in it, as it is now.

    Anything else is returned as it is, also a path that this has returned before.

    Raises
    ------
    ConfigError
        The URL cannot be taken.
    RemoteError
        It cannot be brought, or is a folder that is not whole.
    """
    if not is_url(path):
        return Path(path)
    path = path_of(path)
    url = url_of(path)
    remote.forget(url)
    info = remote.looked(url)
    if info is not None and not info.folder:
        cached.pin(url)
        return here(path)
    inside = remote.listing(url)
    if info is None and not inside:
        _gone(url, path)
        return path
    if UPLOADING in inside:
        raise RemoteError(
            f"{url} is not whole: it is being uploaded, or that was interrupted; run the command that makes it again"
        )
    cached.pin(url)
    bring_all(url, path, whole_files(inside))
    return path


def brought_from(folder: Path, name: str | os.PathLike) -> Path:
    """`brought` of a name that is relative to a folder, which may be remote."""
    return brought(name) if is_url(name) else brought(named(folder / name))


def whole_files(inside: dict[str, remote.Info]) -> dict[str, remote.Info]:
    """The files of a listing that lie in no folder whose upload has not ended."""
    open_folders = [name[: -len(UPLOADING)] for name in inside if name.rpartition("/")[2] == UPLOADING]
    return {name: info for name, info in inside.items() if not name.startswith(tuple(open_folders) or "\0")}


def bring_all(url: str, path: Path, inside: dict[str, remote.Info]) -> None:
    """Bring the files of a remote folder, several at a time; copies of files that are gone there go here, too."""
    drop_gone(url, inside)
    path.mkdir(parents=True, exist_ok=True)

    def one(name: str) -> None:
        _bring(f"{url.rstrip('/')}/{name}", path / name, inside[name])

    remote.together(one, inside, TOGETHER)


def drop_gone(url: str, inside: Collection[str]) -> None:
    """Drop the copies of files of a remote folder that are not among those `inside` any more."""
    for known, about in cached.known_below(url).items():
        if about.tag and known[len(url.rstrip("/")) + 1 :] not in inside:
            _gone(known, path_of(known))


def bring_together(paths: Iterable[Path]) -> None:
    """Bring remote files, several at a time, before they are asked for one by one; others are left alone."""
    archives = (inside[0] if (inside := member_of(path)) else path for path in paths)
    far = [path for path in dict.fromkeys(archives) if url_of(path)]
    if len(far) > 1:
        remote.together(here, far, TOGETHER)


def hash_of(path: str | os.PathLike) -> str:
    """`embcomp.storage.files.file_hash` of a file, remote or not; a large remote one is read and not kept."""
    if member_of(path):
        return file_hash(here(path))
    url = url_of(path)
    if not url:
        return file_hash(path)
    info = remote.looked(url)
    if info is None or info.folder:
        raise FileNotFoundError(2, "no such file", url)
    now = cached.entry(url)
    if now.tag == info.tag and now.hash:
        return now.hash
    key = info.sha256[:16] or (remote.known_hash(url)[:16] if info.size > WHOLE else "")
    if not key and info.size * STREAMED > cached.limit() and not _is_whole(url, Path(path), info):
        key = remote.file_digest(remote.blocks(url, info.size, BLOCK))[:16]
    key = key or file_hash(here(path))
    now = cached.entry(url)
    kept = now if now.tag == info.tag else Entry(info.tag)
    cached.keep(url, replace(kept, hash=key))
    return key


def is_there(path: str | os.PathLike) -> bool:
    """Whether a file is there, remote or not."""
    if inside := member_of(path):
        return is_there(inside[0]) and inside[1] in members(here(inside[0]))
    url = url_of(path)
    if not url:
        return Path(path).is_file()
    info = remote.looked(url)
    return info is not None and not info.folder


def _gone(url: str, path: Path) -> None:
    """Drop the copy of a file that is not there any more; what has not been uploaded yet is no copy."""
    if cached.entry(url).tag:
        for copy in (path, cached.ranges_of(path)):
            copy.unlink(missing_ok=True)
        cached.forget(url)


def _is_whole(url: str, path: Path, info: remote.Info) -> bool:
    now = cached.entry(url)
    return now.whole and now.tag == info.tag and path.is_file()


def _bring(url: str, path: Path, info: remote.Info) -> None:
    now = cached.entry(url)
    if now.whole and now.tag == info.tag and cached.hold(path):
        return
    with cached.locked(url):
        now = cached.entry(url)
        while not (now.whole and now.tag == info.tag and cached.hold(path)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                cached.make_room(max(info.size, 0))
                half = _downloaded(url, info)
                size = half.stat().st_size
                os.replace(half, path)
                cached.ranges_of(path).unlink(missing_ok=True)
            except OSError as error:
                raise RemoteError(
                    f"cannot keep a copy of {url} in {cached.cache_folder()}: {why(error)} (EMBCOMP_CACHE names another folder)"
                ) from None
            key = now.hash if now.tag == info.tag else ""
            now = Entry(info.tag, True, size, key, stamp=path.stat().st_mtime_ns)
            cached.keep(url, now)


def _downloaded(url: str, info: remote.Info) -> Path:
    half = cached.partial(url, info.tag)
    with open(half, "ab") as file:
        done = file.tell()
        if info.size < 0 or done > info.size:
            file.truncate(0)
            done = 0
        first = done
        while done < info.size or (info.size < 0 and not done):
            content = remote.read(url, done, min(done + BLOCK, info.size)) if info.size >= 0 else remote.read(url)
            file.write(content)
            done += len(content)
            if not content:
                break
    if info.size >= 0 and (done != info.size or (done - first > BLOCK or first) and remote.look(url) != info):
        half.unlink()
        remote.forget(url)
        raise RemoteError(f"{url} changed while it was read; run again")
    return half


def _ranged(url: str, path: Path, info: remote.Info, start: float, stop: float | None) -> Path | None:
    """A file of the size of a WAV, of which only its header and the samples asked for are there; None if that is no way."""
    target = cached.ranges_of(path)
    with cached.locked(url):
        now = cached.entry(url)
        if now.whole and now.tag == info.tag and path.is_file():
            return None
        if now.tag != info.tag:
            now = Entry(info.tag)
        if not (now.parts and target.is_file()):
            now = Entry(info.tag, hash=now.hash)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as file:
                file.truncate(info.size)
        now = _with_range(url, target, info, now, 0, PIECE)
        found = _samples(target, info.size)
        if found is not None:
            first, last, rate = found
            low = first + int(max(0.0, start - MARGIN) * rate)
            high = last if stop is None else min(last, first + int((stop + MARGIN) * rate))
            if high - low <= info.size // 2 and info.size - last <= TAIL:
                now = _with_range(url, target, info, now, low, high)
                now = _with_range(url, target, info, now, last, info.size)
                cached.keep(url, now)
                return target if cached.hold(target) else None
        cached.keep(url, now)
    return None


def _with_range(url: str, target: Path, info: remote.Info, now: Entry, start: int, stop: int) -> Entry:
    """Bring what is missing of a range of bytes."""
    start, stop = start // PIECE * PIECE, min(-(-stop // PIECE) * PIECE, info.size)
    if start >= stop:
        return now
    missing, place_now = [], start
    for low, high in now.parts:
        if high <= place_now or low >= stop:
            continue
        if low > place_now:
            missing.append((place_now, low))
        place_now = high
    if place_now < stop:
        missing.append((place_now, stop))
    cached.make_room(sum(high - low for low, high in missing))
    with open(target, "r+b") as file:
        for low, high in missing:
            for piece in range(low, high, BLOCK):
                content = remote.read(url, piece, min(piece + BLOCK, high))
                if len(content) != min(piece + BLOCK, high) - piece:
                    raise RemoteError(f"{url} changed while it was read; run again")
                file.seek(piece)
                file.write(content)
    merged: list[tuple[int, int]] = []
    for low, high in sorted([*now.parts, (start, stop)]):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return Entry(now.tag, False, sum(high - low for low, high in merged), now.hash, merged)


def _samples(path: Path, size: int) -> tuple[int, int, int] | None:
    """Where the samples of a plain WAV begin and end, and the bytes of a second; None of anything else."""
    with open(path, "rb") as file:
        head = file.read(PIECE)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE" or int.from_bytes(head[4:8], "little") + 8 not in (size, size - 1):
        return None
    at, rate = 12, 0
    while at + 8 <= len(head):
        name, length = struct.unpack("<4sI", head[at : at + 8])
        if name == b"fmt " and at + 24 <= len(head):
            form, rate = (
                int.from_bytes(head[at + 8 : at + 10], "little"),
                int.from_bytes(head[at + 16 : at + 20], "little"),
            )
            if form not in (1, 3, 0xFFFE):
                return None
        if name == b"data":
            return (at + 8, at + 8 + length, rate) if rate and length and at + 8 + length <= size else None
        at += 8 + length + (length & 1)
    return None
