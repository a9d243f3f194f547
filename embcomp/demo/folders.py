"""Synthetic sounds laid out as people have theirs: a folder for each class, and a folder of recordings without labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from embcomp.demo import (
    FAMILIES,
    FORMAT_VERSION,
    PLAIN,
    POOL,
    README,
    SHIFTED,
    Setting,
    check,
    plan,
    render_clip,
    write_clip,
)
from embcomp.errors import ArtifactError, ConfigError
from embcomp.storage.files import new_folder, read_json, write_json, write_text

SOUNDS, OTHER, UNLABELLED = 96, 48, 96  # clips of each folder
SAMPLE_RATE = 16_000  # in Hz
RECORD = "demo.json"


def render_folders(
    folder: str | os.PathLike,
    *,
    seed: int = 0,
    clips: int = SOUNDS,
    other_clips: int = OTHER,
    pool_clips: int = UNLABELLED,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render ``sounds/CLASS/``, ``other/CLASS/`` and ``pool/`` into `folder`.

    They contain the sounds of `embcomp.demo.render`, other numbers of them. A file is named ``CLASS_NN_TT.flac``: take
    TT of instrument NN. Folders that this function wrote with the same settings are kept as they are.

    Parameters
    ----------
    folder : path
    seed : int, default=0
        Not negative.
    clips, other_clips, pool_clips : int
        Clips in each folder, at least one per class.
    progress : callable, optional
        Called as ``progress(done, total)`` after every clip.

    Returns
    -------
    list of Path
        The three folders.

    Raises
    ------
    ConfigError
        A setting is out of range, or one of the folders exists and is something else.
    EmbcompError
        A file cannot be written.
    """
    check("seed", seed, 0)
    parts = (("sounds", PLAIN, clips), ("other", SHIFTED, other_clips), ("pool", POOL, pool_clips))
    for name, _, count in parts:
        check(f"clips of {name}", count, len(FAMILIES))
    done, total = 0, clips + other_clips + pool_clips
    places = [Path(folder) / name for name, *_ in parts]
    needed = [not _rendered(place, setting, count, seed) for place, (_, setting, count) in zip(places, parts)]
    for place, (_, setting, count), absent in zip(places, parts, needed):
        if absent:
            with new_folder(place, lambda there: False) as temporary:
                for number, row in enumerate(plan(setting, count), start=1):
                    path = temporary / _name(setting, *row)
                    path.parent.mkdir(exist_ok=True)
                    write_clip(path, render_clip(setting, *row, seed, SAMPLE_RATE), SAMPLE_RATE)
                    if progress is not None:
                        progress(done + number, total)
                about = _record(setting, count, seed)
                write_text(
                    temporary / "README.txt",
                    README.format(families=len(FAMILIES), labels=", ".join(FAMILIES), **about),
                )
                write_json(temporary / RECORD, about)
        done += count
    return places


def _name(setting: Setting, family: str, instrument: int, take: int) -> str:
    name = f"{family}_{instrument:02d}_{take:02d}.flac"
    return f"{family}/{name}" if setting.labelled else name


def _record(setting: Setting, clips: int, seed: int) -> dict:
    about = {"set": setting.name, "seed": int(seed), "clips": int(clips), "sample_rate": SAMPLE_RATE}
    return {"made_by": "embcomp.demo.folders", "format": FORMAT_VERSION, **about}


def _rendered(place: Path, setting: Setting, clips: int, seed: int) -> bool:
    """Whether the folder has these sounds already."""
    if not place.exists():
        return False
    try:
        found = read_json(place / RECORD)
    except ArtifactError:
        found = None
    if found != _record(setting, clips, seed):
        raise ConfigError(
            f"{place} exists and was not written by this command with these settings; choose another folder"
        )
    missing = [name for row in plan(setting, clips) if not (place / (name := _name(setting, *row))).is_file()]
    if missing:
        raise ConfigError(
            f"{place} lacks {missing[0]} and {len(missing) - 1} more; remove the folder to render it again"
        )
    return True
