"""Manifest of the Free Spoken Digit Dataset: python recipes/fsdd/prepare.py FOLDER [--out MANIFEST]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from embcomp.data.makers.fsdd import UNNAMED, clip_of
from recipes.common import Clip, Found, Layout, collect_files, prepare_command


def clip(path: Path) -> Clip | str:
    """Digit, speaker and official split of a recording, from its name."""
    found = clip_of(path)
    return Clip(path, found.label, found.group, found.split) if found else UNNAMED


def collect(folder: Path) -> Found:
    """Recordings of every speaker."""
    return collect_files(folder, clip)


LAYOUTS = (Layout("fsdd", "recordings/DIGIT_SPEAKER_TAKE.wav", collect),)

main = prepare_command(
    LAYOUTS,
    "Write a manifest of the Free Spoken Digit Dataset in FOLDER (its repository, or a folder with a manifest.csv).",
)

if __name__ == "__main__":
    main()
