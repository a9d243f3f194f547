"""Short sounds as files, each of its own content."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import soundfile


def write_sound(path: Path, seconds: float = 0.25, rate: int = 8000, seed: int | None = None) -> Path:
    """Noise of its own for each name; the same `seed` gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()) if seed is None else seed)
    soundfile.write(path, rng.uniform(-0.5, 0.5, round(seconds * rate)), rate)
    return path


def write_sounds(folder: Path, *names: str, **about) -> Path:
    """Sounds of these names below a folder, which is returned."""
    for name in names:
        write_sound(folder / name, **about)
    return folder
