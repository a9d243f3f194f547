"""Remote files by fsspec: looked at, listed, read in ranges, written; failures are tried again, and end in one line."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from embcomp.errors import MissingDependencyError, RemoteError
from embcomp.extras import imported
from embcomp.storage.places import SCHEMES, shown

WRITER = ".writer.json"  # in a folder that is written to, see `embcomp.storage.writers`
TRIES = 5
FRESH = 300.0  # seconds for which a file that was looked at is not looked at again
REMEMBERED = 200_000  # files whose looks are remembered
PAUSE = 0.5  # seconds after the first failure; twice as long after each further one
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
VERSIONS = ("ETag", "etag", "md5Hash", "blob_id", "content_md5", "ino")
TIMES = ("LastModified", "mtime", "updated", "last_modified", "Last-Modified", "created")
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Info:
    """What a remote file system says of a file.

    Attributes
    ----------
    size : int
        Bytes; -1 where it does not say.
    tag : str
        Changes whenever the file does.
    folder : bool
    sha256 : str
        Of its content, where it is known without reading it; hex digits.
    """

    size: int
    tag: str = ""
    folder: bool = False
    sha256: str = ""


_looks: dict[str, tuple[float, Info | None]] = {}


def look(url: str) -> Info | None:
    """What there is at a URL; None where nothing is.

    Raises
    ------
    RemoteError
        It cannot be asked.
    """
    try:
        found = _tried(f"cannot look at {url}", lambda: _system(url).info(_bare(url)))
    except MISSING:
        return None
    return _info(url, found)


def looked(url: str) -> Info | None:
    """`look`, remembered for a few minutes."""
    now = time.monotonic()
    if url in _looks and now - _looks[url][0] < FRESH:
        return _looks[url][1]
    found = look(url)
    remember(url, found)
    return found


def remember(url: str, info: Info | None) -> None:
    """Let `looked` find this, which was seen or made just now."""
    while len(_looks) >= REMEMBERED:
        _looks.pop(next(iter(_looks)), None)
    _looks[url] = time.monotonic(), info


def forget(url: str) -> None:
    """Have a file looked at again."""
    _looks.pop(url, None)


def listing(url: str) -> dict[str, Info]:
    """Files in a remote folder and below it, by their names relative to it; empty where there are none.

    Without the marks of those who write there.
    """
    start = _bare(url).rstrip("/") + "/"
    try:
        found = _tried(f"cannot list {url}", lambda: _system(url).find(_bare(url), detail=True))
    except MISSING:
        return {}
    inside = {name if name.startswith(start) else "/" + name: about for name, about in found.items()}
    return {
        name[len(start) :]: _info(url, about)
        for name, about in sorted(inside.items())
        if name[len(start) :].strip("/") and not name.rpartition("/")[2].startswith(WRITER)
    }


def known_hash(url: str) -> str:
    """The SHA-256 of a file of S3 that was uploaded with one, hex digits; empty elsewhere."""
    if not url.startswith("s3://"):
        return ""
    bucket, _, key = _bare(url).partition("/")
    with contextlib.suppress(Exception):  # a server that knows no checksums may say so in any way
        said = _system(url).call_s3("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        text = said.get("ChecksumSHA256", "")
        # Of a file in several parts it is a hash of hashes.
        if said.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in text:
            return b64decode(text).hex()
    return ""


def read(url: str, start: int = 0, stop: int | None = None) -> bytes:
    """Bytes `start` to `stop` of a file.

    Raises
    ------
    RemoteError
        It cannot be read, or is gone.
    """
    try:
        return _tried(f"cannot read {url}", lambda: _system(url).cat_file(_bare(url), start=start, end=stop))
    except MISSING:
        raise RemoteError(f"cannot read {url}: it is gone; somebody removed it meanwhile") from None


def blocks(url: str, size: int, block: int = 8 << 20) -> Iterator[bytes]:
    """A file from its start to its end, a block at a time."""
    for start in range(0, size, block):
        yield read(url, start, min(start + block, size))


def put(path: str | os.PathLike, url: str) -> Info:
    """Upload a file; a reader sees all of it or nothing.

    Returns
    -------
    Info
        Of the file that is there now.

    Raises
    ------
    RemoteError
        It cannot be written. The file here is as it was: the same command goes on with it.
    """
    local = os.fspath(path)

    def upload() -> None:
        with _whole(url) as place:
            _system(url).put_file(local, place)

    _sent(url, upload)
    found = look(url)
    if found is None or found.size not in (-1, os.path.getsize(local)):
        raise RemoteError(f"cannot upload to {url}: not all of it arrived; run the same command again to go on")
    return found


def write(content: bytes, url: str) -> None:
    """Upload a few bytes; a reader sees all of them or nothing."""

    def upload() -> None:
        with _whole(url) as place:
            _system(url).pipe_file(place, content)

    _sent(url, upload)


@contextlib.contextmanager
def _whole(url: str) -> Iterator[str]:
    """Where to write a file that appears at its URL when the block ends."""
    place = _bare(url)
    if not url.startswith("file:"):
        yield place
        return
    # Of all the systems here the one whose writers are seen at work.
    half = f"{place}.{os.getpid()}.tmp"
    os.makedirs(os.path.dirname(place), exist_ok=True)
    yield half
    os.replace(half, place)


def _sent(url: str, send: Callable[[], Any]) -> None:
    what = f"cannot upload to {url}"
    try:
        _tried(what, send, "what was to be uploaded is kept here; run the same command again to go on")
    except MISSING as error:
        raise RemoteError(
            f"{what}: {said(error)}; make it, or check its name, and run the same command again"
        ) from None


def remove(url: str) -> None:
    """Delete a file; one that is not there is no error."""
    forget(url)
    with contextlib.suppress(*MISSING):
        _tried(f"cannot delete {url}", lambda: _system(url).rm_file(_bare(url)))


def remove_empty(url: str) -> None:
    """Delete a folder with nothing in it; only those of disks can be empty."""
    if url.startswith("file:"):
        with contextlib.suppress(OSError):
            os.rmdir(_bare(url))


def together(call: Callable[[Value], object], given: Iterable[Value], threads: int) -> None:
    """Call a function for each file, several at a time; the first failure in their order is raised."""
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(call, one) for one in given]:
            done.result()


def file_digest(parts: Iterator[bytes]) -> str:
    """SHA-256 of bytes that come in parts, hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def said(error: BaseException) -> str:
    """What a library says of a failure, in one line, without credentials or signed queries."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    text = re.sub(r"\?[^\s'\"]*", "?...", text)
    text = re.sub(r"(?<=://)[^/@\s]+@", "", text)
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:
            text = text.replace(value, "***")
    return shown(text)[:300]


def _tried(what: str, call: Callable[[], Value], mend: str = "run the same command again to go on") -> Value:
    for attempt in range(TRIES):
        try:
            return call()
        except MISSING:
            raise
        except MissingDependencyError:
            raise
        except Exception as error:  # of HTTP, of providers and of their libraries, without a common base
            last = error
            if isinstance(error, PermissionError):
                raise RemoteError(f"{what}: not allowed ({said(error)}); check the credentials and the name") from None
            if "redential" in type(error).__name__:
                raise RemoteError(
                    f"{what}: no credentials were found; give them as the provider's tools take them (docs/remote.md)"
                ) from None
        if attempt < TRIES - 1:
            time.sleep(PAUSE * 2**attempt)
    raise RemoteError(f"{what}, tried {TRIES} times: {said(last)}; {mend}") from None


def _system(url: str) -> Any:
    scheme = url.partition(":")[0]
    package, extra = SCHEMES[scheme]
    imported(package, f"{scheme}:// needs", package, extra)
    # What fsspec remembers of folders would hide what others write meanwhile.
    return imported("fsspec", f"{scheme}:// needs", package, extra).filesystem(scheme, use_listings_cache=False)


def _bare(url: str) -> str:
    """A URL as its file system takes it: of the web whole, of others without the scheme."""
    scheme, _, rest = url.partition("://")
    return url if scheme in ("http", "https") else ("/" + rest.lstrip("/") if scheme in ("file", "memory") else rest)


def _info(url: str, about: dict[str, Any]) -> Info:
    size = about.get("size")
    size = size if isinstance(size, int) else -1
    lfs = about.get("lfs") or {}
    versions = [str(about[name]) for name in VERSIONS if about.get(name)]
    times = [] if versions and "ino" not in about else [str(about[name]) for name in TIMES if about.get(name)]
    tag = hashlib.sha256("\n".join([str(size), *versions, *times]).encode()).hexdigest()[:32]
    folder = about.get("type") == "directory"
    return Info(size, tag, folder, str(lfs.get("sha256") or "") if url.startswith("hf:") else "")
