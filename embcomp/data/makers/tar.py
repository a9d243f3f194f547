"""Shards of WebDataset: tar archives in which files of one name belong together."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embcomp.data.makers.base import Clip, Found, Maker, one_label, option
from embcomp.data.sounds import SUFFIXES
from embcomp.errors import ManifestError
from embcomp.storage.members import members, read_member

LARGEST = 1 << 20  # bytes of a text or JSON beside a sound
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class ShardSettings:
    """Where labels and groups are."""

    label_key: str = option("label", "Key of KEY.json that holds the label, or a list of labels.")
    group_key: str = option("group", "Key of KEY.json that holds the group: speaker, recording, place.")


class Shards(Maker):
    """``shard-000.tar`` with ``KEY.wav`` and, of the same name, ``KEY.json``, ``KEY.cls`` or ``KEY.txt``.

    The label is in the JSON, under --label-key, else it is the text of KEY.cls or KEY.txt. Without any, clips have no
    label, as a pool that is learned from. In quotes, 'shard-{000..009}.tar' names ten shards. The audio stays in the
    archives and is read there.
    """

    name = "tar"
    summary = "Tar shards of WebDataset: KEY.wav with KEY.json, KEY.cls or KEY.txt."
    source = "FILES"
    Settings = ShardSettings

    def recognises(self, path: Path) -> bool:
        """A plain tar by its name."""
        return path.suffix.lower() == ".tar" and path.is_file()

    def default_out(self, source: Path) -> Path:
        """Beside the shards."""
        return source.parent / "manifest.csv"

    def find(self, sources: Sequence[Path], settings: ShardSettings, out: Path) -> Found:
        """Find the clips; see `Maker`."""
        archives = [one for source in sources for one in expanded(source)]
        clips: list[Clip] = []
        for archive in archives:
            try:
                inside = members(archive)
            except OSError as error:
                raise ManifestError(f"cannot read {archive}: {error.strerror or error}") from None
            clips += _clips(archive, inside, settings)
        if not clips:
            raise ManifestError(f"no audio file in {archives[0]}; looked for {' '.join(SUFFIXES)}")
        notes = []
        if without := sum(not clip.label for clip in clips):
            notes.append(f"{without} of {len(clips)} clips have no label")
        return Found(clips, archives[0].parent, notes)


def expanded(source: Path) -> list[Path]:
    """The shards of ``shard-{000..009}.tar``; any other path as it is."""
    found = _RANGE.search(source.name)
    if found is None:
        return [source]
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + 1_000_000:
        raise ManifestError(f"{source.name} names no shards: {first} to {last}")
    width = len(found[1])
    names = (
        f"{source.name[: found.start()]}{number:0{width}d}{source.name[found.end() :]}"
        for number in range(first, last + 1)
    )
    return [source.with_name(name) for name in names]


def _clips(archive: Path, inside: dict[str, tuple[int, int]], settings: ShardSettings) -> list[Clip]:
    clips = []
    for name in inside:
        stem, ending = _parts(name)
        if ending not in SUFFIXES:
            continue
        about = _json(archive, f"{stem}.json", inside)
        label = about.get(settings.label_key)
        if label is None:
            label = next(
                (_text(archive, f"{stem}{one}", inside) for one in (".cls", ".txt") if f"{stem}{one}" in inside), ""
            )
        labels = label if isinstance(label, list) else [label] if label not in ("", None) else []
        where = f"{archive.name}/{name}"
        group = about.get(settings.group_key)
        clips.append(
            Clip(
                archive / name,
                "|".join(one_label(str(one), where) for one in labels),
                "" if group is None else str(group),
            )
        )
    return clips


def _parts(name: str) -> tuple[str, str]:
    """Key and ending of a member: what is before its last dot, and from it on."""
    folder, _, file = name.rpartition("/")
    stem, _, ending = file.rpartition(".")
    return (f"{folder}/{stem}" if folder else stem), f".{ending.lower()}"


def _json(archive: Path, name: str, inside: dict[str, tuple[int, int]]) -> dict[str, Any]:
    if name not in inside:
        return {}
    try:
        found = json.loads(_text(archive, name, inside))
        if not isinstance(found, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{archive.name}/{name} is no JSON object ({error})") from None
    return found


def _text(archive: Path, name: str, inside: dict[str, tuple[int, int]]) -> str:
    if inside[name][1] > LARGEST:
        raise ManifestError(f"{archive.name}/{name} is larger than {LARGEST >> 20} MB: no label")
    try:
        return read_member(archive, name).decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ManifestError(f"{archive.name}/{name} is not UTF-8") from None
