"""Audacity label tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.annotations import is_audacity, read_audacity
from embcomp.data.makers.base import Found, Maker, option
from embcomp.data.makers.recordings import annotation_files, clips_of


@dataclass(frozen=True)
class AudacitySettings:
    """Where the audio is."""

    audio: str = option("", "Folder of the recordings, where they do not lie beside the labels.", metavar="DIR")


class Audacity(Maker):
    """Labels exported from Audacity, a file for each recording."""

    name = "audacity"
    summary = "Audacity label tracks (files, or folders of them)."
    source = "FILES"
    Settings = AudacitySettings

    def recognises(self, path: Path) -> bool:
        """A label track, or a folder with some."""
        return is_audacity(path) if path.is_file() else any(map(is_audacity, path.glob("*.txt")))

    def find(self, sources: Sequence[Path], settings: AudacitySettings, out: Path) -> Found:
        """Find the labelled stretches; see `Maker`."""
        annotated = [(path, read_audacity(path)) for path in annotation_files(sources, _track)]
        return clips_of(annotated, settings.audio, [])


def _track(path: Path) -> bool:
    """A label track, or an empty one: of a recording in which nothing was labelled."""
    return is_audacity(path) or path.stat().st_size == 0
