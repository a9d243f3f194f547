"""Files that appear whole or not at all, and keys that say what made them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embcomp.errors import ArtifactError, EmbcompError

MAX_JSON_BYTES = 64 << 20


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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


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
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()
        raise EmbcompError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file of at most 64 MB.

    Raises
    ------
    ArtifactError
        The file is missing, too large or not JSON.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MB: not one of embcomp's files")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged (not JSON: {error}); make it again") from error


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Fill a folder under a temporary name; it takes its own name when the block ends well.

    A folder that already has the name is replaced in the same step. When the
    block raises, nothing is left behind.

    Yields
    ------
    Path
        The temporary folder to write into.
    """
    path = Path(path)
    path = path if path.name else path.resolve()  # "." has no name to put another beside
    if path.exists() and not path.is_dir():
        raise EmbcompError(f"cannot write the folder {path}: a file of that name stands there")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise EmbcompError(f"cannot create a folder beside {path}: {error.strerror or error}") from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        replace_folder(temporary, path)
    except OSError as error:
        raise EmbcompError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Give the finished folder `source` the name `target`, replacing what stands there."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        os.replace(target, old)
    os.replace(source, target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)
