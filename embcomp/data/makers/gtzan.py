"""GTZAN."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option
from embcomp.data.makers.published import clips_below, folders_in, listed
from embcomp.data.reading import read_text
from embcomp.errors import ManifestError

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
NAME = re.compile(rf"({'|'.join(GENRES)})\.\d{{5}}")
ENDINGS = (".wav", ".au")
PLACES = ("", "genres", "genres_original", "Data/genres_original")
LISTS = {"train": "train_filtered.txt", "validation": "valid_filtered.txt", "test": "test_filtered.txt"}


@dataclass(frozen=True)
class GtzanSettings:
    """Where the lists lie."""

    lists: str = option("", f"Folder of {', '.join(LISTS.values())}; empty looks beside the genres.", metavar="DIR")


class Gtzan(Maker):
    """Tzanetakis and Cook, "Musical Genre Classification of Audio Signals", IEEE Transactions on Speech and Audio
    Processing 10(5), 2002.

    The set repeats recordings, has wrong labels and distorted excerpts (Sturm, "The GTZAN dataset: Its contents, its
    faults, their effects on evaluation, and its future use", 2013, arXiv 1306.1461), and names no artists. Where the
    three lists of the fault-filtered split lie beside it (Kereliuk, Sturm and Larsen, "Deep Learning and Music
    Adversaries", 2015, arXiv 1507.04761; 443, 197 and 290 excerpts without known faults and with artists on one side
    only), they are the splits, and excerpts in none of them are left out. There are no groups: the set does not say
    who plays.
    """

    name = "gtzan"
    summary = "GTZAN: genres/ with blues/blues.00000.wav; with the fault-filtered lists where they lie beside it."
    Settings = GtzanSettings

    def recognises(self, path: Path) -> bool:
        """By its folders and the names of their files."""
        return any(_has_genres(path / place) for place in PLACES)

    def find(self, sources: Sequence[Path], settings: GtzanSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        folder = next((home / place for place in PLACES if _has_genres(home / place)), None)
        if folder is None:
            raise ManifestError(f"no file of GTZAN in {home}: names are like genres/blues/blues.00000.wav")
        files = {path.stem: path for ending in ENDINGS for path in clips_below(folder, ending)}
        named = {stem: path for stem, path in files.items() if NAME.fullmatch(stem)}
        left_out = [(path.name, "its name is not GENRE.NUMBER") for path in files.values() if path.stem not in named]
        split_of = _read_lists([Path(settings.lists)] if settings.lists else [home, folder], bool(settings.lists))
        if not split_of:
            clips = [Clip(path, path.stem.split(".")[0]) for path in named.values()]
            notes = [
                "GTZAN repeats recordings, has wrong labels and names no artists (Sturm 2013): a random split scores too "
                f"high. Put {', '.join(LISTS.values())} of the fault-filtered split beside it"
            ]
            return listed(clips, home, notes, self.name, left_out)
        left_out += [
            (path.name, "in none of the fault-filtered lists") for stem, path in named.items() if stem not in split_of
        ]
        clips = []
        for stem, split in split_of.items():
            genre = stem.split(".")[0]
            clips.append(Clip(named.get(stem, folder / genre / f"{stem}.wav"), genre, "", split))
        notes = ["splits are the fault-filtered lists, which keep artists apart; the set does not name artists"]
        return listed(clips, home, notes, self.name, left_out)


def _has_genres(folder: Path) -> bool:
    return len(folders_in(folder) & set(GENRES)) >= 8 and any(
        NAME.fullmatch(path.stem) for path in folder.glob("blues/*") if path.suffix in ENDINGS
    )


def _read_lists(folders: Sequence[Path], needed: bool) -> dict[str, str]:
    """Split of each excerpt's name; empty where no list is there and none is `needed`."""
    found: dict[str, Path] = {}
    for split, name in LISTS.items():
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None:
            found[split] = path
    missing = [name for split, name in LISTS.items() if split not in found]
    if missing and (found or needed):
        raise ManifestError(f"{folders[0] / missing[0]} is missing: the fault-filtered split has three lists")
    split_of: dict[str, str] = {}
    for split, path in found.items():
        for line in read_text(path, "list").split():
            stem = Path(line).stem
            if not NAME.fullmatch(stem):
                raise ManifestError(f"{path} names {line!r}; lines of the list are like blues/blues.00029.wav")
            if split_of.setdefault(stem, split) != split:
                raise ManifestError(f"{stem} is in {found[split_of[stem]].name} and in {path.name}")
    return split_of
