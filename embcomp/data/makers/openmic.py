"""OpenMIC-2018."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, option, wanted
from embcomp.data.makers.published import listed, refuse_columns
from embcomp.data.tables import read_table
from embcomp.errors import ManifestError

TABLE = "openmic-2018-aggregated-labels.csv"


@dataclass(frozen=True)
class OpenMicSettings:
    """When an instrument is there."""

    relevance: float = option(0.5, "An instrument is there from this relevance on.")
    undecided: bool = option(False, "Exactly this relevance is unknown instead, as in the code of EAsT.")


class OpenMic(Maker):
    """Humphrey, Durand and McFee, "OpenMIC-2018: An Open Data-set for Multiple Instrument Recognition", ISMIR 2018.

    Its labels are partial: an instrument that nobody was asked about is unknown (``?name``), one of low relevance is
    known not to be there. A group is the track; splits are the published partition, which is by track: an artist may be
    on both sides.
    """

    name = "openmic"
    summary = f"OpenMIC-2018: {TABLE}, audio/ and partitions/."
    Settings = OpenMicSettings

    def recognises(self, path: Path) -> bool:
        """By its table."""
        return (path / TABLE).is_file()

    def find(self, sources: Sequence[Path], settings: OpenMicSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        home = folder_of(sources, self)
        table = wanted(home / TABLE, "the table of labels", self)
        cells, notes = read_table(table, delimiter="comma")
        refuse_columns(cells, table, "sample_key", "instrument", "relevance")
        instruments = sorted(set(cells["instrument"]))
        known: dict[str, dict[str, bool]] = {}
        for key, instrument, relevance in zip(cells["sample_key"], cells["instrument"], cells["relevance"]):
            said = known.setdefault(key, {})
            try:
                degree = float(relevance)
            except ValueError:
                raise ManifestError(
                    f"{table}: the relevance of {instrument!r} in {key!r} is {relevance!r}, not a number"
                ) from None
            if not (settings.undecided and degree == settings.relevance):
                said[instrument] = degree >= settings.relevance
        splits = _splits(home)
        clips = []
        for key, said in known.items():
            marks = [name if said[name] else "" for name in said]
            marks += [f"?{name}" for name in instruments if name not in said]
            label = "|".join(filter(None, sorted(marks, key=lambda mark: mark.removeprefix("?")))) or "|"
            clips.append(Clip(home / "audio" / key[:3] / f"{key}.ogg", label, key.split("_")[0], splits.get(key, "")))
        notes += [
            f"an instrument is there from a relevance of {settings.relevance:g} on, unknown where nobody was asked"
            + " or answers are even" * settings.undecided
        ]
        return listed(clips, home, [*notes, "a group is the track"], "openmic")


def _splits(home: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((home / "partitions").glob("*")):
        split = next((name for name in ("train", "test") if name in path.name), "")
        if split:
            found |= dict.fromkeys(path.read_text(encoding="utf-8", errors="replace").split(), split)
    return found
