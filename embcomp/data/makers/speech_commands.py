"""Speech Commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option, wanted
from embcomp.data.makers.published import listed
from embcomp.errors import ManifestError, nearest

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


@dataclass(frozen=True)
class SpeechCommandsSettings:
    """Which part."""

    words: str = option("", "Only these words, parted by commas.", metavar="WORD,...")


class SpeechCommands(Maker):
    """Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018, arXiv 1804.03209.

    A group is the speaker, the part of the file's name before ``_nohash_``; splits are the published lists, the rest is
    ``train``. The background noise has no word and is left out.
    """

    name = "speech-commands"
    summary = "Speech Commands: a folder a word, testing_list.txt and validation_list.txt."
    Settings = SpeechCommandsSettings

    def recognises(self, path: Path) -> bool:
        """By its lists."""
        return all((path / name).is_file() for name in LISTS.values())

    def find(self, sources: Sequence[Path], settings: SpeechCommandsSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        split_of = {}
        for split, name in LISTS.items():
            lines = wanted(home / name, f"the list of {split} clips", self).read_text(
                encoding="utf-8", errors="replace"
            )
            split_of |= dict.fromkeys(lines.split(), split)
        words = sorted(path.name for path in home.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
        for word in (chosen := [word.strip() for word in settings.words.split(",") if word.strip()]):
            if word not in words:
                raise ManifestError(f"{home} has no word {word!r}; {nearest(word, words)}")
        clips = []
        for word in chosen or words:
            for path in sorted((home / word).glob("*.wav")):
                split = split_of.get(f"{word}/{path.name}", "train")
                clips.append(Clip(path, word, path.stem.split("_nohash_")[0], split))
        notes = ["a group is the speaker", "background noise is left out"]
        return listed(clips, home, notes, "speech_commands")
