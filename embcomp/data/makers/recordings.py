"""What makers of annotated recordings share: which audio an annotation file belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath

from embcomp.data.annotations import Annotation
from embcomp.data.makers.base import Clip, Found, one_label
from embcomp.data.sounds import audio_files
from embcomp.errors import ManifestError

AFTER_NAME = re.compile(r"\.|[-_ ]?(label|selection|table|annot|raven|audacity|birdnet|embcomp)", re.IGNORECASE)


def annotation_files(sources: Sequence[Path], fits: Callable[[Path], bool]) -> list[Path]:
    """The files given, and in folders given those that `fits` knows.

    Raises
    ------
    ManifestError
        A source is not there, or a folder holds none.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            some = sorted(path for path in source.rglob("*.txt") if fits(path))
            if not some:
                raise ManifestError(f"no annotation file (.txt) in {source} or below")
            found += some
        elif source.exists():
            found.append(source)
        else:
            raise ManifestError(f"no annotation file at {source}")
    return list(dict.fromkeys(found))


def clips_of(annotated: Sequence[tuple[Path, list[Annotation]]], audio: str, notes: list[str]) -> Found:
    """Selections as clips of the recordings that they belong to.

    A recording is the one that the annotation names, or the one whose name the annotation file begins with, in
    `audio` or beside the annotations.

    Raises
    ------
    ManifestError
        Not one recording is there, or an annotation may belong to several.
    """
    home = Path(audio) if audio else common_folder([path.parent for path, _ in annotated])
    recordings = audio_files(home) if home.is_dir() else []
    by_name: dict[str, list[Path]] = {}
    for path in recordings:
        by_name.setdefault(path.name, []).append(path)
    clips: list[Clip] = []
    left_out: list[tuple[str, str]] = []
    unnamed = 0
    for file, some in annotated:
        if not some:
            path = _of_file(file, recordings)
            # No selection in a whole recording says that it is background all along.
            clips += [Clip(path)] if path is not None else []
            continue
        for one in some:
            path = _of_name(one.recording, file, by_name) if one.recording else _of_file(file, recordings)
            if path is None:
                what = one.recording or f"a recording whose name {file.name} begins with"
                left_out.append((str(file), f"{what} is not in {home} or below"))
            elif not one.label:
                unnamed += 1
            else:
                clips.append(Clip(path, one_label(one.label, file), start=one.start, end=one.end))
    left_out = list(dict.fromkeys(left_out))
    if not clips and left_out:
        raise ManifestError(f"{left_out[0][0]}: {left_out[0][1]}; say where the audio lies with --audio DIR")
    if unnamed:
        notes.append(f"{unnamed} selections without a label are left out")
    return Found(clips, home, notes, selections=True, left_out=left_out, unlabelled="without a selection")


def common_folder(folders: Sequence[Path]) -> Path:
    """The folder that holds all of them."""
    return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders])) if folders else Path(".")


def _of_name(name: str, file: Path, by_name: dict[str, list[Path]]) -> Path | None:
    for path in (Path(name), file.parent / name):
        if path.is_file():
            return path
    fitting = by_name.get(PureWindowsPath(name).name, [])
    return _one(fitting, name)


def _of_file(file: Path, recordings: list[Path]) -> Path | None:
    """The recording with the longest name that the annotation file's begins with, those beside it first."""
    beside = [path for path in recordings if path.parent == file.parent]
    for some in (beside, recordings):
        fitting = [path for path in some if _begins(file.name, path)]
        if fitting:
            longest = max(len(path.stem) for path in fitting)
            return _one([path for path in fitting if len(path.stem) == longest], file.name)
    return None


def _begins(name: str, recording: Path) -> bool:
    return name.startswith(recording.stem) and AFTER_NAME.match(name[len(recording.stem) :]) is not None


def _one(fitting: list[Path], name: str) -> Path | None:
    if len(fitting) > 1:
        raise ManifestError(
            f"{name} may belong to {fitting[0]} or {fitting[1]}; say where the audio lies with --audio DIR"
        )
    return fitting[0] if fitting else None
