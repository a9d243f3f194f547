"""RAVDESS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option
from embcomp.data.makers.published import clips_below, listed
from embcomp.errors import ManifestError, nearest

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CHANNELS = {"01": "speech", "02": "song"}
NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
PARTS = ("both", *CHANNELS.values())


@dataclass(frozen=True)
class RavdessSettings:
    """Which part."""

    part: str = option("both", "speech, song or both.", metavar="PART")


class Ravdess(Maker):
    """Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE 13(5), 2018,
    doi:10.1371/journal.pone.0196391.

    Names hold modality, vocal channel, emotion, intensity, statement, repetition and actor. A group is the actor. Of
    the same performance as sound and as film with sound, only the sound is taken. A file that is there twice, as in
    copies with a folder that repeats all others, is taken once.
    """

    name = "ravdess"
    summary = "RAVDESS: Actor_01-24 of audio files named 03-01-06-01-02-01-12.wav."
    Settings = RavdessSettings

    def recognises(self, path: Path) -> bool:
        """By the names of its files."""
        return any(NAME.fullmatch(file.stem) for file in path.glob("*Actor_*/*.wav")) or any(
            path.glob("*_[Aa]ctors_*/Actor_*/03-*.wav")  # Audio_Speech_Actors_01-24: its archives, side by side
        )

    def find(self, sources: Sequence[Path], settings: RavdessSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        if settings.part not in PARTS:
            raise ManifestError(f"unknown part {settings.part!r}: {nearest(settings.part, PARTS)}")
        clips, left_out, names = [], [], set()
        for path in clips_below(home):
            match = NAME.fullmatch(path.stem)
            if match is None or match[2] not in CHANNELS or not 1 <= int(match[3]) <= len(EMOTIONS):
                left_out.append((path.name, "its name does not say modality, channel, emotion, ..., actor"))
                continue
            if path.name in names:
                left_out.append((path.relative_to(home).as_posix(), "a file of this name is in another folder, too"))
                continue
            names.add(path.name)
            if settings.part in ("both", CHANNELS[match[2]]):
                clips.append(Clip(path, EMOTIONS[int(match[3]) - 1], f"actor-{match[7]}"))
        if not clips:
            raise ManifestError(
                f"no file of RAVDESS ({settings.part}) in {home} or below: names are like 03-01-06-01-02-01-12.wav"
            )
        return listed(
            clips, home, ["a group is the actor; all actors say the same two statements"], self.name, left_out
        )
