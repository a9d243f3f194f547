"""IRMAS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, folder_of
from embcomp.data.makers.published import clips_below, folders_in, listed
from embcomp.errors import ManifestError

INSTRUMENTS = ("cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi")
TRAIN = "IRMAS-TrainingData"


class Irmas(Maker):
    """Bosch, Janer, Fuhrmann and Herrera, "A Comparison of Sound Segregation Techniques for Predominant Instrument
    Recognition in Musical Audio Signals", ISMIR 2012.

    Training excerpts have one label, their folder's; test excerpts have those of the text beside them, one or more.
    A group is the song: the number before the last ``__`` of a training excerpt's name, and the name without the
    excerpt's number of a test excerpt. Both parts together are a set of several labels to a clip.
    """

    name = "irmas"
    summary = "IRMAS: IRMAS-TrainingData/ and IRMAS-TestingData-Part*/ (either or both)."

    def recognises(self, path: Path) -> bool:
        """By its folders."""
        return (path / TRAIN).is_dir() or any(path.glob("IRMAS-TestingData*")) or _classes(path)

    def find(self, sources: Sequence[Path], settings: Any, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        training = home / TRAIN if (home / TRAIN).is_dir() else home
        clips, left_out = [], []
        for instrument in INSTRUMENTS:
            for path in clips_below(training / instrument):
                song = re.search(r"(\d+)__\d+$", path.stem)
                clips.append(Clip(path, instrument, f"song-{song[1]}" if song else path.stem, "train"))
        for part in sorted(home.glob("IRMAS-TestingData*")):
            for path in clips_below(part):
                text = path.with_suffix(".txt")
                labels = text.read_text(encoding="utf-8", errors="replace").split() if text.is_file() else []
                if not labels or not set(labels) <= set(INSTRUMENTS):
                    left_out.append((path.name, f"{text.name} beside it does not say its instruments"))
                    continue
                song = re.sub(r"-\d+$", "", path.stem).strip()
                clips.append(Clip(path, "|".join(labels), f"test-{song}", "test"))
        if not clips:
            raise ManifestError(
                f"{home} holds neither {TRAIN} nor IRMAS-TestingData-Part1, nor folders like cel and gac"
            )
        notes = ["a group is the song; training and test songs are separated by the publication, not by name"]
        if any("|" in clip.label for clip in clips):
            notes.append(
                "test excerpts have one label or more, training excerpts only that of the predominant instrument: what else "
                "plays in them counts as not there"
            )
        return listed(clips, home, notes, self.name, left_out)


def _classes(path: Path) -> bool:
    return len(folders_in(path) & set(INSTRUMENTS)) >= 8
