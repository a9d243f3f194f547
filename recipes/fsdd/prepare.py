"""Manifest of the Free Spoken Digit Dataset: python recipes/fsdd/prepare.py FOLDER [--out MANIFEST]."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import Clip, Found, Layout, collect_files, prepare_command

NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)")
TEST_TAKES = 5  # takes 0-4 are the official test set


def clip(path: Path) -> Clip | str:
    """Digit, speaker and official split of a recording, from its name."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        return "the name is not DIGIT_SPEAKER_TAKE"
    split = "test" if int(match["take"]) < TEST_TAKES else "train"
    return Clip(path, match["digit"], match["speaker"], split)


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
