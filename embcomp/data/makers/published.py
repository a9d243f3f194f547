"""What makers for published data sets share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from embcomp.data.makers.base import Clip, Found
from embcomp.data.sounds import audio_files
from embcomp.data.tables import Cells
from embcomp.errors import ManifestError


def refuse_columns(cells: Cells, table: Path, *needed: str) -> None:
    """Refuse a table without the columns of the published one.

    Raises
    ------
    ManifestError
        Names them.
    """
    missing = [name for name in needed if name not in cells]
    if missing:
        raise ManifestError(
            f"{table} has no column {missing[0]!r}, so it is not the published table (found: {', '.join(cells)})"
        )


def listed(
    clips: Sequence[Clip], home: Path, notes: list[str], dataset: str, left_out: Sequence[tuple[str, str]] = ()
) -> Found:
    """Clips of a published list.

    Raises
    ------
    ManifestError
        Not one of the files is there.
    """
    there: dict[Path, bool] = {}
    for clip in clips:
        if clip.path not in there:
            there[clip.path] = clip.path.is_file()
    if not any(there.values()):
        first = next(iter(there), home)
        raise ManifestError(
            f"not one of the {len(there)} files of {dataset} is there, {first} first; unpack its audio into {home}"
        )
    return Found(list(clips), home, notes, dataset, left_out=list(left_out))


def clips_below(home: Path, ending: str = ".wav") -> list[Path]:
    """Audio files below a folder with this ending, in either case; none where there is no such folder."""
    return [path for path in audio_files(home) if path.suffix.lower() == ending] if home.is_dir() else []


def folders_in(path: Path) -> set[str]:
    """Names of the folders in a folder; none where there is no such folder."""
    return {entry.name for entry in path.iterdir() if entry.is_dir()} if path.is_dir() else set()


def named_clips(
    files: Sequence[Path],
    rule: Callable[[Path], Clip | None],
    reason: str,
    example: str,
    home: Path,
    notes: list[str],
    dataset: str,
) -> Found:
    """Clips of a set whose file names say everything.

    Parameters
    ----------
    rule : callable
        From a file to its clip, or to None where its name is of another form.
    reason : str
        Why such a file is left out.
    example : str
        A name as it should be, for messages.

    Raises
    ------
    ManifestError
        Not one file is named so.
    """
    found = {path: rule(path) for path in files}
    clips = [clip for clip in found.values() if clip is not None]
    if not clips:
        raise ManifestError(f"no file of {dataset} in {home}: names are like {example}")
    left_out = [(path.relative_to(home).as_posix(), reason) for path, clip in found.items() if clip is None]
    return Found(clips, home, notes, dataset, left_out=left_out)
