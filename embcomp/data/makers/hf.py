"""Hugging Face data sets: audio folders with metadata, Parquet and Arrow files with the audio inside, names at the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.arrow import Part, disk_parts, hub_parts
from embcomp.data.makers.base import Clip, Found, Maker, option
from embcomp.data.makers.embedded import write_audio
from embcomp.data.makers.folder import SPLITS, Folder
from embcomp.data.makers.table import clips_of, locate
from embcomp.data.tables import Cells, read_table
from embcomp.errors import ManifestError, nearest

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class HuggingFaceSettings:
    """Which part, and what its columns mean."""

    column: tuple[str, ...] = option(
        (), "What a column means, where its name does not say: label=intent.", metavar="MEANING=NAME"
    )
    config: str = option("", "Configuration of a data set at the hub.", metavar="NAME")
    split: tuple[str, ...] = option((), "Only this split; may be repeated.", metavar="NAME")
    separator: str = option("", "What parts several labels in one cell; | always does.", metavar="TEXT")
    tag: tuple[str, ...] = option((), "A column of 0 and 1 that says whether this label applies.", metavar="NAME")


class HuggingFace(Maker):
    """A folder as `datasets` reads and writes it, or a name at the hub; audio inside tables is written out."""

    name = "hf"
    summary = "A Hugging Face data set: a folder with metadata.csv, Parquet or Arrow files, or a name at the hub."
    source = "DATASET"
    Settings = HuggingFaceSettings
    writes = True

    def default_out(self, source: Path) -> Path:
        """In the folder; for a name at the hub a folder of that name here."""
        return (source if source.is_dir() else Path(source.name)) / "manifest.csv"

    def recognises(self, path: Path) -> bool:
        """A folder with metadata files, or with Parquet or Arrow files and no audio beside them."""
        return path.is_dir() and bool(_metadata(path) or disk_parts(path))

    def find(self, sources: Sequence[Path], settings: HuggingFaceSettings, out: Path) -> Found:
        """Find the clips; see `Maker`. Audio that is inside tables goes to the folder ``audio`` beside `out`."""
        source = sources[0]
        if source.is_file():
            raise ManifestError(f"{source} is a file; give the folder of the data set, or use `embcomp manifest table`")
        if source.is_dir():
            metadata = _metadata(source)
            if metadata:
                return _with_metadata(source, metadata, settings)
            parts = disk_parts(source)
            if not parts:
                return _only(Folder().find(sources, Folder.Settings(), out), settings.split)
        else:
            parts = hub_parts(source.as_posix(), settings.config)
        return _of_parts(source, _chosen(parts, settings.split), settings, out)


def _metadata(folder: Path) -> list[Path]:
    places = [
        folder,
        *sorted(path for path in folder.glob("*") if path.is_dir()),
        *sorted(path for path in folder.glob("data/*") if path.is_dir()),
    ]
    return [place / name for place in places for name in METADATA if (place / name).is_file()]


def _with_metadata(home: Path, tables: list[Path], settings: HuggingFaceSettings) -> Found:
    """An audio folder: each table names files below its own folder; first folders may be splits."""
    clips: list[Clip] = []
    notes: list[str] = []
    left_out: list[tuple[str, str]] = []
    for table in tables:
        cells, said = read_table(table)
        some = clips_of(cells, table, table.parent, settings, said)
        place = table.parent.relative_to(home).parts
        for clip in some.clips:
            parts = clip.path.relative_to(home).parts if clip.path.is_relative_to(home) else ()
            split = next((part for part in (*place, *parts[:-1]) if SPLITS.fullmatch(part)), "")
            clips.append(Clip(clip.path, clip.label, clip.group, clip.split or split, clip.start, clip.end))
        notes += [note for note in some.notes if note not in notes]
        left_out += some.left_out
    return _only(Found(clips, home, notes, home.resolve().name, left_out=left_out), settings.split)


def _only(found: Found, splits: Sequence[str]) -> Found:
    known = sorted({clip.split for clip in found.clips})
    for split in splits:
        if split not in known:
            raise ManifestError(f"{found.home} has no split {split!r}; {nearest(split, known)}")
    clips = [clip for clip in found.clips if not splits or clip.split in splits]
    return Found(
        clips,
        found.home,
        found.notes,
        found.dataset,
        left_out=found.left_out,
        unlabelled=found.unlabelled,
        no_label=found.no_label,
    )


def _chosen(parts: list[Part], splits: Sequence[str]) -> list[Part]:
    known = sorted({part.split for part in parts})
    for split in splits:
        if split not in known:
            raise ManifestError(f"the data set has no split {split!r}; {nearest(split, known)}")
    return [part for part in parts if not splits or part.split in splits]


def _of_parts(source: Path, parts: list[Part], settings: HuggingFaceSettings, out: Path) -> Found:
    """Tables with the audio inside, or with paths: what cells say is settled before any audio is written."""
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    audio = parts[0].audio
    cells: Cells = {name: [] for name in names if name != audio}
    paths: list[str] = []
    splits: list[str] = []
    for part in parts:
        if part.audio != audio:
            raise ManifestError(f"{source}: the audio is {audio!r} in one file and {part.audio!r} in another")
        found = part.cells()
        count = part.rows
        for name in cells:
            cells[name] += found.get(name, [""] * count)
        splits += [part.split] * count
        paths += part.paths()
    # A stand-in for the files, so that the same rules read labels, groups and times.
    stand_in = {
        "path": [str(number) for number in range(len(paths))],
        **{name: values for name, values in cells.items() if name != "path"},
    }
    about = clips_of(stand_in, source, source, settings, [], numbered=True)
    notes = list(about.notes)
    left_out: list[tuple[str, str]] = []
    if all(part.embedded for part in parts):
        files = write_audio(parts, out.parent / "audio", str(source), paths)
        notes.append(f"audio inside the tables is written to {out.parent / 'audio'}")
        home = out.parent
    else:
        located, left_out, said = locate(paths, source)
        files, notes, home = located, [*notes, *said], source
    clips = []
    for clip in about.clips:
        row = int(clip.path.name)
        if files[row] is not None:
            clips.append(Clip(files[row], clip.label, clip.group, clip.split or splits[row], clip.start, clip.end))
        elif not left_out or paths[row] not in dict(left_out):
            left_out.append((f"row {row + 1}", "has no audio"))
    return Found(clips, home, notes, source.resolve().name if source.is_dir() else source.name, left_out=left_out)
