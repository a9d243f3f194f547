"""UrbanSound8K."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, wanted
from embcomp.data.makers.published import listed, refuse_columns
from embcomp.data.tables import read_table

TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")


class UrbanSound8K(Maker):
    """Salamon, Jacoby and Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014,
    doi:10.1145/2647868.2655045.

    A group is the recording at Freesound that slices were cut from (``fsID``); splits are the published folds.
    ``start`` and ``end`` of its table are times in that recording, not in the slice, and are not used. Scores are
    comparable only over all ten folds as published: folds differ in difficulty, and folds drawn anew would put slices
    of one recording on both sides. Copies of the set have the table and the folds in one folder, which is read too.
    """

    name = "urbansound8k"
    summary = "UrbanSound8K: metadata/UrbanSound8K.csv and audio/fold1-10; folds as published."

    def recognises(self, path: Path) -> bool:
        """By its table."""
        return any((path / place).is_file() for place in TABLES)

    def find(self, sources: Sequence[Path], settings: Any, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        tables = [home / place for place in TABLES]
        table = next((path for path in tables if path.is_file()), tables[0])
        table = wanted(table, "the table of slices", self)
        cells, notes = read_table(table, delimiter="comma")
        refuse_columns(cells, table, "slice_file_name", "fsID", "fold", "class")
        rows = zip(cells["slice_file_name"], cells["class"], cells["fsID"], cells["fold"])
        audio = home / "audio" if (home / "audio").is_dir() else home
        clips = [Clip(audio / f"fold{fold}" / name, label, source, fold) for name, label, source, fold in rows]
        notes += ['a group is the source recording (fsID); comparable scores need all ten folds: split.by = "column"']
        return listed(clips, home, notes, self.name)
