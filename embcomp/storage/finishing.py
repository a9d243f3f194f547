"""A store whose rows are all there gets its index and its name, in one step."""

from __future__ import annotations

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
    try:
        # The count of rows done is written last: after a kill here, its rows must be found again.
        with publishing(path):
            rename_folder(partial, path)
            for name in remains:
                (path / name).unlink()
    except OSError as error:
        raise StoreError(f"cannot write {path}: {why(error)}") from error


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
