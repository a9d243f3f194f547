"""The Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, folder_of
from embcomp.data.makers.published import clips_below, named_clips

NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[A-Za-z]+)_(?P<take>\d+)")
TEST_TAKES = 5  # takes 0-4 are the published test set
UNNAMED = "the name is not DIGIT_SPEAKER_TAKE"


def clip_of(path: Path) -> Clip | None:
    """Digit, speaker and published split of a recording, from its name; None for a name of another form."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        return None
    return Clip(path, match["digit"], match["speaker"], "test" if int(match["take"]) < TEST_TAKES else "train")


class Fsdd(Maker):
    """Jackson et al., "Free Spoken Digit Dataset", 2018, doi:10.5281/zenodo.1342401.

    A group is the speaker. The published split is by take: every speaker is in training and in test, so a score by it is
    one for known voices, and a run refuses it unless ``split.allow_shared_groups`` is set. Use ``split.by = "group"``.
    """

    name = "fsdd"
    summary = "Free Spoken Digit Dataset: recordings/ of files named 7_jackson_32.wav."

    def recognises(self, path: Path) -> bool:
        """By the names of its files."""
        some = [*(path if path.name == "recordings" else path / "recordings").glob("*.wav")][:20]
        return 2 * sum(clip_of(file) is not None for file in some) > len(some)

    def find(self, sources: Sequence[Path], settings: Any, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        folder = home / "recordings" if (home / "recordings").is_dir() else home
        notes = ['a group is the speaker; the published split shares all speakers, so use split.by = "group"']
        return named_clips(clips_below(folder), clip_of, UNNAMED, "7_jackson_32.wav", home, notes, self.name)
