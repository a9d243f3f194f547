"""Clips beside a page: copied into its folder, or named where they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError
from embcomp.review.playing import sound
from embcomp.storage.files import write_bytes

FOLDER = "sounds"


def copied(manifest: Manifest, rows: Sequence[int], out: Path, ffmpeg: bool = False) -> list[str]:
    """Write clips into the folder of a page, as WAV files of at most 60 s; their addresses, empty where one cannot be read."""
    found = []
    for place, row in enumerate(rows):
        try:
            content = sound(manifest, row, ffmpeg)
        except AudioError:
            found.append("")
            continue
        write_bytes(out / FOLDER / f"{place:05d}.wav", content)
        found.append(f"{FOLDER}/{place:05d}.wav")
    return found


def linked(manifest: Manifest, rows: Sequence[int], out: Path) -> list[str]:
    """Addresses of clips where they lie, relative to the folder of a page; a part of a file by its times."""
    found = []
    for row in rows:
        place = Path(os.path.relpath(manifest.audio_path(row).absolute(), out.absolute())).as_posix()
        start, end = manifest.interval(row)
        part = "" if start is None and end is None else f"#t={start or 0:g}" + ("" if end is None else f",{end:g}")
        found.append(quote(place, safe="/") + part)
    return found
