"""Files that appear whole or not at all, and keys that say what made them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from embcomp.errors import ArtifactError, EmbcompError, why
from embcomp.storage.alive import is_alive
from embcomp.storage.imposters import head_of, imposter
from embcomp.storage.publishing import publishing

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_JSON_BYTES = 64 << 20
AT_ONCE = 1 << 20  # bytes; larger files are hashed part by part
DIGITS = 6  # significant ones of the numbers in tables


def fingerprint(content: Any) -> str:
    """Key of anything JSON can hold: the first 16 hex digits of its SHA-256.

    The order of keys does not matter; floats are written with all their digits.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, first 16 hex digits."""
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > AT_ONCE:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        # The buffer in which a large one is read takes longer to make than a short clip to hash.
        return hashlib.sha256(file.read()).hexdigest()[:16]


def sync(path: str | os.PathLike) -> None:
    """Have the system write a file or folder to disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some file systems refuse to sync a folder; the rename is still atomic there.
        if not os.path.isdir(path):
            raise
    finally:
        os.close(handle)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file by way of a temporary name, so that no reader sees half of it."""
    try:
        content = text.encode("utf-8")
    except ValueError as error:
        raise EmbcompError(f"cannot write {path}: {error}") from error
    write_bytes(path, content)


def write_table(path: str | os.PathLike, table: DataFrame) -> None:
    """Write the rows of a table as CSV, numbers with `DIGITS` digits."""
    write_text(path, table.to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n"))


def write_bytes(path: str | os.PathLike, content: bytes | memoryview, what: str = "") -> None:
    """Write a file by way of a temporary name, so that no reader sees half of it.

    Parameters
    ----------
    what : str, default=""
        Said before its path where it cannot be written: ``"the checkpoint "``.

    Raises
    ------
    EmbcompError
        It cannot be written; what was there before is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        recover(path)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with publishing(path):
            os.replace(temporary, path)
    except (OSError, ValueError) as error:
        raise EmbcompError(f"cannot write {what}{path}: {why(error)}") from error
    finally:
        # After an interruption too; where all went well, the name is gone.
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[IO[str]]:
    """A text file to write piece by piece; it takes the name `path` when the block ends well, else nothing is there.

    What is no text in UTF-8, as names of files may be, is escaped: finished work is not lost for it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        recover(path)
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with publishing(path):
            os.replace(temporary, path)
    except OSError as error:
        raise EmbcompError(f"cannot write {path}: {why(error)}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_regular(path: str | os.PathLike) -> None:
    """Refuse what is no plain file: a pipe or a device could be read for ever.

    Raises
    ------
    ArtifactError
        The file is missing, or a folder, pipe or device.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"cannot read {path}: not a regular file")


def path_or_content(path: str | os.PathLike) -> str | bytes:
    """What to give a library that opens files whose names are UTF-8 alone: the path, or the bytes of the file.

    Raises
    ------
    OSError
        It cannot be read.
    """
    try:
        os.fspath(path).encode("utf-8")
        return os.fspath(path)
    except UnicodeEncodeError:
        return Path(path).read_bytes()


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file of at most 64 MB.

    Raises
    ------
    ArtifactError
        The file is missing, too large, not JSON, or has a key twice or a number that is not finite.
    """
    path = Path(path)
    check_regular(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MB: not one of embcomp's files")
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        if other := imposter(head_of(path), archives=False):
            raise ArtifactError(f"{path} {other}") from error
        raise ArtifactError(f"{path} is damaged (not JSON: {error}); make it again") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is there twice")
    return content


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) < float("inf"):
        raise ValueError(f"{text} is not a finite number")
    return value


@contextlib.contextmanager
def new_folder(path: str | os.PathLike, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Fill a folder under a temporary name; it takes its own name when the block ends well.

    A folder that already has the name is replaced in the same step. When the
    block raises, nothing is left behind.

    Parameters
    ----------
    check : callable
        Raises where the folder at `path` must not be replaced; see `embcomp.storage.ownership.refuse_other`. It is
        asked before the block and after it. By default any folder that is not empty is refused.

    Yields
    ------
    Path
        The temporary folder to write into.
    """
    path = Path(path)
    # "." has no name to put another beside, and a link must not take the place of what it leads to.
    path = path.resolve() if not path.name or path.is_symlink() else path
    if path.exists() and not path.is_dir():
        raise EmbcompError(f"cannot write the folder {path}: a file of that name is there")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    recover(path)
    check = check or _refuse_filled
    check(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise EmbcompError(f"cannot create a folder beside {path}: {why(error)}") from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        check(path)
        replace_folder(temporary, path)
    except OSError as error:
        raise EmbcompError(f"cannot write {path}: {why(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_filled(path: Path) -> None:
    if path.is_dir() and any(path.iterdir()):
        raise EmbcompError(f"{path} holds other files; choose another name")


def replace_folder(source: Path, target: Path) -> None:
    """Give the finished folder `source` the name `target`, replacing what is there; upload it where that belongs to a URL."""
    with publishing(target):
        rename_folder(source, target)


def rename_folder(source: Path, target: Path) -> None:
    """`replace_folder` of one that is not uploaded yet."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        os.replace(target, old)
    os.replace(source, target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(path: str | os.PathLike) -> None:
    """Clear away what processes that were killed while they wrote `path` left beside it.

    Half-written files go. A folder that was being replaced gets its name back
    if its writer died between the two renames.
    """
    path = Path(path)
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.(tmp|old)")
    try:
        found = [(name, pattern.fullmatch(name)) for name in os.listdir(path.parent)]
    except (OSError, ValueError):
        return  # whoever writes next says what is wrong
    for name, match in found:
        if match is None or is_alive(int(match[1])):
            continue
        left = path.with_name(name)
        with contextlib.suppress(OSError):
            if match[2] == "old" and not path.exists():
                os.replace(left, path)
            elif left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
