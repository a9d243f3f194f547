"""A folder of class folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, one_label, option
from embcomp.data.sounds import SUFFIXES, audio_files
from embcomp.errors import ManifestError

SPLITS = re.compile(
    r"(train|training|test|testing|val|valid|validation|dev|eval|evaluation|fold[-_ ]?\d+)", re.IGNORECASE
)


@dataclass(frozen=True)
class FolderSettings:
    """Which folders mean what; levels count from the top, below folders named for splits; -1 is the file's own folder."""

    label_level: int = option(1, "Which folder names the label: 1 is the first below DIR, -1 the file's own.")
    group_level: int = option(0, "Which folder names the group; 0 none.")
    splits: bool = option(True, "Take first folders named train, test, fold1, ... for splits.")


class Folder(Maker):
    """``DIR/dog/1.wav``, ``DIR/cat/2.wav``: the folder says the label."""

    name = "folder"
    summary = "A folder of class folders; or of any files, with --label."
    Settings = FolderSettings

    def recognises(self, path: Path) -> bool:
        """Any folder is one."""
        return path.is_dir()

    def find(self, sources: Sequence[Path], settings: FolderSettings, out: Path) -> Found:
        """Find the clips; see `Maker`. Files above the folder that names the label have none."""
        home = folder_of(sources, self)
        try:
            files = audio_files(home)
        except OSError as error:
            raise ManifestError(f"cannot list {error.filename or home}: {error.strerror or error}") from None
        if not files:
            raise ManifestError(f"no audio file in {home} or below; looked for {' '.join(SUFFIXES)}")
        notes: list[str] = []
        folders = [list(PurePosixPath(path.relative_to(home).as_posix()).parts[:-1]) for path in files]
        shared = _shared(folders)
        folders = [parts[shared:] for parts in folders]
        splits = [""] * len(files)
        if settings.splits and all(parts and SPLITS.fullmatch(parts[0]) for parts in folders):
            splits = [parts[0] for parts in folders]
            folders = [parts[1:] for parts in folders]
            again = _shared(folders)
            folders = [parts[again:] for parts in folders]
            notes.append(f"splits by folder: {', '.join(sorted(set(splits)))}")
        labels = [_level(parts, settings.label_level) for parts in folders]
        groups = [_level(parts, settings.group_level) if settings.group_level else "" for parts in folders]
        clips = [
            Clip(path, one_label(label, path.parent), group, split)
            for path, label, group, split in zip(files, labels, groups, splits)
        ]
        depths = Counter(map(len, folders))
        if max(depths) > 1:
            example = "/".join(max(folders, key=len))
            level = (
                "the file's own folder"
                if settings.label_level == -1
                else f"folder {settings.label_level} of {example!r}"
            )
            notes.append(f"folders lie up to {max(depths)} deep; the label is {level} (--label-level takes another)")
        hint = (
            f"no folder says the label of the files in {home}. Give the part of the path that does, as a regular "
            f"expression: --label '([a-z]+)' finds {_example(files[0].name)!r} in {files[0].name!r}; or --label-level"
        )
        return Found(clips, home, notes, unlabelled="in no class folder", no_label=hint)


def _shared(folders: list[list[str]]) -> int:
    """Leading folders that all files share and that can be passed over: not the last above any file."""
    count = 0
    while all(len(parts) > count + 1 for parts in folders) and len({parts[count] for parts in folders}) == 1:
        count += 1
    return count


def _level(parts: list[str], level: int) -> str:
    place = level - 1 if level > 0 else level
    return parts[place] if -len(parts) <= place < len(parts) else ""


def _example(name: str) -> str:
    match = re.search("([a-z]+)", name)
    return match[0] if match else ""
