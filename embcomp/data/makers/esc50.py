"""ESC-50 and ESC-10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option, wanted
from embcomp.data.makers.published import listed, refuse_columns
from embcomp.data.tables import read_table


@dataclass(frozen=True)
class Esc50Settings:
    """Which part."""

    esc10: bool = option(False, "Only the ten classes of ESC-10.")


class Esc50(Maker):
    """Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015, doi:10.1145/2733373.2806390.

    A group is the recording at Freesound that clips were cut from (``src_file``); splits are the published folds.
    """

    name = "esc50"
    summary = "ESC-50: meta/esc50.csv and audio/; folds as published."
    Settings = Esc50Settings

    def recognises(self, path: Path) -> bool:
        """By its table."""
        return (path / "meta" / "esc50.csv").is_file()

    def find(self, sources: Sequence[Path], settings: Esc50Settings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        table = wanted(home / "meta" / "esc50.csv", "the table of clips", self)
        cells, notes = read_table(table, delimiter="comma")
        refuse_columns(cells, table, "filename", "fold", "category", "src_file", "esc10")
        rows = zip(cells["filename"], cells["category"], cells["src_file"], cells["fold"], cells["esc10"])
        clips = [
            Clip(home / "audio" / name, label, source, fold)
            for name, label, source, fold, ten in rows
            if not settings.esc10 or ten.strip().lower() == "true"
        ]
        return listed(
            clips, home, [*notes, "a group is the source recording (src_file)"], "esc10" if settings.esc10 else "esc50"
        )
