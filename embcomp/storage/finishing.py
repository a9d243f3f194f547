"""A store whose rows are all there gets its index and its name, in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from embcomp.errors import StoreError, why
from embcomp.storage.files import rename_folder, sync, write_json, write_text
from embcomp.storage.publishing import publishing

FORMAT = 1


def finish_store(
    partial: Path, path: Path, plan: dict[str, Any], ids: Sequence[str], hashes: Sequence[str], remains: Iterable[str]
) -> None:
    """Write what says what the rows in `partial` are, and give the folder the name `path`.

    Parameters
    ----------
    plan : dict
        ``dtype``, ``rows``, ``dim`` and ``settings``.
    remains : iterable of str
        Files of a store in writing, which go.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    lines = ["id,hash"] + [f"{_quoted(clip)},{key}" for clip, key in zip(ids, hashes)]
    write_text(partial / "index.csv", "\n".join(lines) + "\n")
    write_json(
        partial / "meta.json",
        {
            "format": FORMAT,
            "complete": True,
            "dtype": plan["dtype"],
            "rows": plan["rows"],
            "dim": plan["dim"],
            "settings": plan["settings"],
        },
    )
    sync(partial / "data.npy")
    give_name(partial, path, remains)


def give_name(partial: Path, path: Path, remains: Iterable[str], upload: bool = True) -> None:
    """Give the finished folder `partial` the name `path`, and only then clear away the files of its writing.

    After a kill or on a full disk before it has its name, the next call must find its rows by them.

    Parameters
    ----------
    upload : bool, default=True
        Where `path` belongs to a URL; a part of what is in writing does not.

    Raises
    ------
    StoreError
        It cannot be renamed.
    """
    try:
        with publishing(path) if upload else contextlib.nullcontext():
            rename_folder(partial, path)
            for name in remains:
                (path / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {why(error)}") from error


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
