"""MagnaTagATune."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option, wanted
from embcomp.data.makers.published import listed, refuse_columns
from embcomp.data.tables import read_table
from embcomp.errors import ManifestError, counted

TABLE = "annotations_final.csv"
SPLITS = {**dict.fromkeys("0123456789ab", "train"), "c": "validation", **dict.fromkeys("def", "test")}


@dataclass(frozen=True)
class MtatSettings:
    """Which tags."""

    tags: int = option(50, "The most frequent tags that are kept; 0 keeps all 188.")
    clean: bool = option(False, "Leave out clips with none of these tags, as in the split that recent papers use.")


class Mtat(Maker):
    """Law, West, Mandel, Bay and Downie, "Evaluation of Algorithms Using Games: The Case of Music Tagging", ISMIR 2009.

    Splits go by the first folder as is usual in tagging: 0-b train, c validation, d-f test (Dieleman and Schrauwen,
    "End-to-end Learning for Music Audio", ICASSP 2014). A group is the song; the set is split by folder, not by artist.
    A clip with none of the tags kept is one that none applies to, or is left out with ``clean``: the 50 tags and folders
    then give the split of Lee et al., "Sample-level Deep Convolutional Neural Networks for Music Auto-tagging Using Raw
    Waveforms", SMC 2017, of 15,244, 1,529 and 4,332 clips, up to the few that it leaves out for their length.
    """

    name = "mtat"
    summary = f"MagnaTagATune: {TABLE} and the folders 0-f of clips."
    Settings = MtatSettings

    def recognises(self, path: Path) -> bool:
        """By its table."""
        return (path / TABLE).is_file()

    def find(self, sources: Sequence[Path], settings: MtatSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        table = wanted(home / TABLE, "the table of tags", self)
        cells, notes = read_table(table, delimiter="tab")
        refuse_columns(cells, table, "clip_id", "mp3_path")
        if settings.tags < 0:
            raise ManifestError(f"--tags is a number of tags, not {settings.tags}")
        names = [name for name in cells if name not in ("clip_id", "mp3_path")]
        counts = Counter({name: cells[name].count("1") for name in names})
        kept = [name for name, _ in counts.most_common(settings.tags or None)]
        clips, untagged = [], 0
        for row, place in enumerate(cells["mp3_path"]):
            label = "|".join(name for name in kept if cells[name][row] == "1")
            if settings.clean and not label:
                untagged += 1
                continue
            song = re.sub(r"-\d+-\d+$", "", Path(place).stem)
            clips.append(Clip(home / place, label or "|", song, SPLITS.get(place[:1].lower(), "")))
        notes += [f"the {len(kept)} most frequent of {len(names)} tags", "a group is the song"]
        if untagged:
            notes.append(f"{counted(untagged, 'clip')} with none of them left out")
        return listed(clips, home, notes, self.name)
