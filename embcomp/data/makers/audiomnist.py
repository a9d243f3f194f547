"""AudioMNIST."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, folder_of
from embcomp.data.makers.published import clips_below, named_clips

META = "audioMNIST_meta.txt"
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>\d\d)_(?P<take>\d+)")
# Speakers of the five test sets in the authors' repository, in its order.
TESTED = (
    (5, 13, 18, 22, 26, 32, 33, 42, 45, 51, 52, 60),
    (1, 6, 7, 16, 19, 23, 28, 34, 35, 46, 53, 56),
    (2, 8, 9, 17, 24, 29, 36, 37, 39, 48, 54, 57),
    (3, 10, 14, 20, 25, 30, 38, 40, 43, 49, 55, 58),
    (4, 11, 12, 15, 21, 27, 31, 41, 44, 47, 50, 59),
)
FOLD_OF = {speaker: str(number) for number, speakers in enumerate(TESTED, 1) for speaker in speakers}


def clip_of(path: Path) -> Clip | None:
    """Digit, speaker and published fold of a recording, from its folder and name; None where they do not fit."""
    match = NAME.fullmatch(path.stem)
    if match is None or path.parent.name != match["speaker"]:
        return None
    return Clip(path, match["digit"], f"speaker-{match['speaker']}", FOLD_OF.get(int(match["speaker"]), ""))


class AudioMnist(Maker):
    """Becker, Vielhaben, Ackermann, Müller, Lapuschkin and Samek, "AudioMNIST: Exploring Explainable Artificial
    Intelligence for Audio Analysis on a Simple Benchmark", Journal of the Franklin Institute 2024, arXiv 1807.03418.

    A group is the speaker. Splits are the five test sets of twelve speakers in the authors' repository. There each fold
    has twelve further speakers for validation; `split.validation` chooses them here.
    """

    name = "audiomnist"
    summary = f"AudioMNIST: data/01-60 of files named 7_01_32.wav, and {META}."

    def recognises(self, path: Path) -> bool:
        """By its table of speakers, or the names of its files."""
        return any((folder / META).is_file() for folder in (path, path / "data")) or any(
            clip_of(file) for folder in ("data/01", "01") for file in path.glob(f"{folder}/*.wav")
        )

    def find(self, sources: Sequence[Path], settings: Any, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        folder = home / "data" if (home / "data").is_dir() else home
        notes = ["a group is the speaker; splits are the five test sets of the authors' repository"]
        reason = "folder and name are not SPEAKER/DIGIT_SPEAKER_TAKE"
        return named_clips(clips_below(folder), clip_of, reason, "01/7_01_32.wav", home, notes, self.name)
