"""Raven selection tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.annotations import is_raven, read_raven
from embcomp.data.makers.base import Found, Maker, option
from embcomp.data.makers.recordings import annotation_files, clips_of


@dataclass(frozen=True)
class RavenSettings:
    """Where audio and labels are."""

    audio: str = option("", "Folder of the recordings, where they do not lie beside the tables.", metavar="DIR")
    label_column: str = option("", "Column of the label.  [default: Annotation, Species, ...]", metavar="NAME")


class Raven(Maker):
    """Selections of recordings; with windows, recordings labelled by them."""

    name = "raven"
    summary = "Raven selection tables (files, or folders of them)."
    source = "FILES"
    Settings = RavenSettings

    def recognises(self, path: Path) -> bool:
        """A table of Raven's, or a folder with some."""
        return is_raven(path) if path.is_file() else any(map(is_raven, path.glob("*.txt")))

    def find(self, sources: Sequence[Path], settings: RavenSettings, out: Path) -> Found:
        """Find the selections; see `Maker`."""
        notes: list[str] = []
        annotated = []
        for path in annotation_files(sources, is_raven):
            some, said = read_raven(path, settings.label_column)
            annotated.append((path, some))
            notes += said
        if len(notes) > 3:
            notes = [*notes[:3], f"and so of {len(notes) - 3} more tables"]
        return clips_of(annotated, settings.audio, notes)
