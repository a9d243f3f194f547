"""Which clip is which, whatever manifest names it."""

from __future__ import annotations

import os

from embcomp.data.manifest import Manifest
from embcomp.storage.content import part_key


def clip_key(path: str | os.PathLike, start: float | None, end: float | None) -> str:
    """A key of a part of a file (seconds), links followed: the same in every manifest."""
    try:
        real = os.path.realpath(path)
    except ValueError:  # a zero byte, which no file has in its name: whoever opens the clip says so
        real = os.path.abspath(path)
    return part_key(real, start, end)


def clip_keys(manifest: Manifest) -> list[str]:
    """The key of each clip."""
    return [clip_key(manifest.audio_path(row), *manifest.interval(row)) for row in range(len(manifest))]
