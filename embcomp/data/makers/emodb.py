"""Emo-DB."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, folder_of
from embcomp.data.makers.published import clips_below, listed
from embcomp.errors import ManifestError

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",  # letters of the German words
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")


class EmoDb(Maker):
    """Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, "A Database of German Emotional Speech", Interspeech 2005.

    Names hold speaker, text, emotion and version: ``03a01Fa.wav``. A group is the speaker.
    """

    name = "emodb"
    summary = "Emo-DB: wav/ with files named 03a01Fa.wav."

    def recognises(self, path: Path) -> bool:
        """By the names of its files."""
        some = [*path.glob("*.wav")][:20] + [*path.glob("wav/*.wav")][:20]
        return bool(some) and all(NAME.fullmatch(file.stem) for file in some)

    def find(self, sources: Sequence[Path], settings: Any, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        clips, left_out = [], []
        for path in clips_below(home):
            match = NAME.fullmatch(path.stem)
            if match is None:
                left_out.append((path.name, "its name does not say speaker, text and emotion"))
            else:
                clips.append(Clip(path, EMOTIONS[match[3]], f"speaker-{match[1]}"))
        if not clips:
            raise ManifestError(f"no file of Emo-DB in {home} or below: names are like 03a01Fa.wav")
        return listed(
            clips, home, ["a group is the speaker; all speakers say the same ten sentences"], self.name, left_out
        )
