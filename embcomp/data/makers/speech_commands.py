"""Speech Commands."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option, wanted
from embcomp.data.makers.published import listed
from embcomp.data.reading import read_text
from embcomp.data.sounds import look_at
from embcomp.errors import ManifestError, nearest

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
NOISE = "_background_noise_"
UNKNOWN, SILENCE = "_unknown_", "_silence_"
TASKS = (35, 12)
SECONDS = 1.0  # of a clip
TEST_SET = "speech_commands_test_set_v0.02"
NAME = re.compile(r"(?P<speaker>[0-9a-f]+)_nohash_\d+")
PERCENT = {"validation": 10.0, "test": 20.0}  # of the speakers, by the published rule: below 10, below 20
LARGEST = 2**27 - 1


@dataclass(frozen=True)
class SpeechCommandsSettings:
    """Which part, and which classes."""

    words: str = option("", "Only these words, parted by commas.", metavar="WORD,...")
    classes: int = option(35, f"35: every word. 12: ten commands, other words as {UNKNOWN}, noise as {SILENCE}.")
    test_set: str = option("", f"Folder of the test clips of 12 classes; empty looks for {TEST_SET}.", metavar="DIR")


class SpeechCommands(Maker):
    """Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018, arXiv 1804.03209.

    A group is the speaker, the part of the file's name before ``_nohash_``; splits are the published lists, the rest is
    ``train``. Where neither list is there, as in excerpts of the set, splits follow the published rule that the lists
    were made by, a hash of the speaker. The background noise has no word and is left out.

    With 12 classes there are as many clips of other words in each split as of one command, chosen by a hash of their
    names, and as many seconds of background noise at most; whole recordings of noise are in one split. The published
    test clips of these classes are an archive of their own. Where it is unpacked in the folder or beside it, they are
    the test clips; its silence may be cut from the recordings of noise that are trained on.
    """

    name = "speech-commands"
    summary = (
        "Speech Commands: a folder a word of files named 0a7c2a8d_nohash_0.wav; testing_list.txt, validation_list.txt."
    )
    Settings = SpeechCommandsSettings

    def recognises(self, path: Path) -> bool:
        """By its lists, or the names of the clips of its commands."""
        return all((path / name).is_file() for name in LISTS.values()) or any(
            NAME.fullmatch(clip.stem) for word in COMMANDS for clip in islice((path / word).glob("*.wav"), 3)
        )

    def find(self, sources: Sequence[Path], settings: SpeechCommandsSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        if settings.classes not in TASKS:
            raise ManifestError(f"--classes is one of {', '.join(map(str, TASKS))}, not {settings.classes}")
        if settings.test_set and settings.classes != 12:
            raise ManifestError("--test-set is of 12 classes; add --classes 12")
        if settings.words and settings.classes == 12:
            raise ManifestError("--words chooses words, and --classes 12 has its own; leave one of them out")
        split_of = self._lists(home)
        words = sorted(
            path.name for path in home.iterdir() if path.is_dir() and path.name[0] not in "_." and path.name != TEST_SET
        )
        chosen = [word.strip() for word in settings.words.split(",") if word.strip()]
        for word in chosen or (COMMANDS if settings.classes == 12 else ()):
            if word not in words:
                raise ManifestError(f"{home} has no word {word!r}; {nearest(word, words)}")
        clips = []
        for word in chosen or words:
            there = [path.name for path in (home / word).glob("*.wav")]
            named = [name.split("/")[1] for name in split_of if name.startswith(f"{word}/")]
            for name in sorted({*there, *named}):  # what a list names and the disk lacks is reported
                speaker = name.removesuffix(".wav").split("_nohash_")[0]
                split = split_of.get(f"{word}/{name}", "train") if split_of else hashed_split(speaker)
                clips.append(Clip(home / word / name, word, speaker, split))
        notes = ["a group is the speaker"]
        if not split_of:
            notes.append(
                f"{' and '.join(LISTS.values())} are not there: splits are by the published hash of the speaker"
            )
        if settings.classes == 12:
            own = _test_set(home, settings.test_set)
            if own:
                clips = [clip for clip in clips if clip.split != "test"]
            splits = ("train", "validation") if own else ("train", "validation", "test")
            clips, said = _twelve(clips, wanted(home / NOISE, "the folder of background noise", self), splits)
            clips += own
            notes += said
            if own:
                notes.append(f"{len(own)} test clips are those of {own[0].path.parent.parent}")
        else:
            notes.append("background noise is left out")
        return listed(clips, home, notes, "speech_commands")

    def _lists(self, home: Path) -> dict[str, str]:
        """Split of each clip that a list names; empty where neither list is there but the clips are."""
        there = any((home / name).is_file() for name in LISTS.values())
        if not there and self.recognises(home):
            return {}
        split_of: dict[str, str] = {}
        for split, name in LISTS.items():
            lines = read_text(wanted(home / name, f"the list of {split} clips", self), "list")
            split_of |= dict.fromkeys(lines.split(), split)
        return split_of


def hashed_split(speaker: str) -> str:
    """The split of a speaker by the published rule, which the published lists follow.

    Parameters
    ----------
    speaker : str
        What is before ``_nohash_`` in the name of a clip.

    Returns
    -------
    str
        ``"validation"``, ``"test"``, or ``"train"`` for about 80 % of speakers.

    Examples
    --------
    >>> hashed_split("2aa787cf"), hashed_split("026290a7"), hashed_split("0a7c2a8d")
    ('test', 'validation', 'train')
    """
    number = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16) % (LARGEST + 1)
    percent = number * (100.0 / LARGEST)
    return next((split for split, below in PERCENT.items() if percent < below), "train")


def _test_set(home: Path, given: str) -> list[Clip]:
    """Clips of the archive of test clips; none where it is not there.

    Raises
    ------
    ManifestError
        It lacks a class.
    """
    folder = (
        Path(given) if given else next((one for one in (home / TEST_SET, home.parent / TEST_SET) if one.is_dir()), None)
    )
    if folder is None:
        return []
    clips = []
    for label in (*COMMANDS, UNKNOWN, SILENCE):
        paths = sorted((folder / label).glob("*.wav"))
        if not paths:
            raise ManifestError(f"{folder / label} holds no clip: the test clips of 12 classes have a folder for each")
        for path in paths:
            # _unknown_/bird_a4383927_nohash_0.wav.wav, yes/a4383927_nohash_0.wav, _silence_/1024.wav
            speaker = path.name.split("_nohash_")[0].split("_")[-1]
            clips.append(Clip(path, label, f"noise-{path.stem}" if label == SILENCE else speaker, "test"))
    return clips


def _twelve(clips: list[Clip], noise: Path, splits: Sequence[str]) -> tuple[list[Clip], list[str]]:
    """The commands, about as many clips of other words as of one command, and noise; and what was done."""
    kept = [clip for clip in clips if clip.label in COMMANDS]
    others = [clip for clip in clips if clip.label not in COMMANDS]
    share = {split: round(sum(clip.split == split for clip in kept) / len(COMMANDS)) or 1 for split in splits}
    unknown: list[Clip] = []
    for split, count in share.items():
        of_split = [clip for clip in others if clip.split == split]
        of_split.sort(key=lambda clip: (zlib.crc32(f"{clip.label}/{clip.path.name}".encode()), clip.path))
        unknown += [Clip(clip.path, UNKNOWN, clip.group, split) for clip in of_split[:count]]
    silence: list[Clip] = []
    paths = sorted(noise.glob("*.wav"))
    lengths = look_at(paths)
    for split, some in zip(share, (paths[first :: len(share)] for first in range(len(share)))):
        of_split = [
            Clip(path, SILENCE, f"noise-{path.stem}", split, number * SECONDS, (number + 1) * SECONDS)
            for path in some
            for number in range(int(lengths[path].seconds // SECONDS))
        ]
        step = max(1, len(of_split) // share[split])
        silence += of_split[::step][: share[split]]
    notes = [
        f"{len(unknown)} of {len(others)} clips of other words are {UNKNOWN}, the rest is left out",
        f"{len(silence)} seconds of {len(paths)} recordings of noise are {SILENCE}, each recording in one split",
    ]
    return [*kept, *unknown, *silence], notes
