"""Embeddings somebody already has: stores and files of vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, StoreError
from embcomp.storage.bringing import brought, brought_from
from embcomp.storage.files import fingerprint
from embcomp.storage.ids import spelled_otherwise
from embcomp.storage.places import named
from embcomp.storage.seen import Seen
from embcomp.storage.taught import kept
from embcomp.storage.vectors import content_key, matched, open_vectors, vector_keys
from embcomp.teachers.base import Teacher, TeacherSettings


class StoredTeacher(Teacher):
    """Reads vectors instead of computing them.

    What is accepted says `embcomp.storage.vectors.open_vectors`; a file without ids has one row per manifest row, in
    manifest order.

    Parameters
    ----------
    path : path or URL
        A relative path starts at the manifest's folder. ``{dataset}`` in it stands for the name of the data set, so
        that one path says where the vectors of several sets lie.
    manifest : Manifest
        The whole manifest, before any clip was left out: rows of a bare .npy are
        matched to it.

    Raises
    ------
    StoreError
        The file is missing, of another kind, or does not hold the manifest's clips.
    """

    name = "store"
    summary = "embeddings you already have: store:PATH"
    runs = False

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        def conflict(self) -> str:
            return "" if self.argument else "the teacher 'store' needs a path: store:PATH"

    @classmethod
    def open(cls, settings: Settings, manifest: Manifest | None = None) -> StoredTeacher:
        if manifest is None:
            raise ConfigError("stored vectors belong to the rows of a manifest; none was given")
        return cls(settings.argument, manifest)

    def __init__(self, path: str | os.PathLike, manifest: Manifest):
        self.path = _place(path, manifest)
        self._store = matched(open_vectors(self.path, manifest.ids), manifest.ids)
        self.frames, self.dim = self._store.frames, self._store.dim
        self._row_of = {clip: row for row, clip in enumerate(self._store.ids)}
        self.seen = kept(self.path)

    @classmethod
    def learned_from(cls, settings: Settings, manifests: Sequence[Manifest] = ()) -> dict[str, Seen | None]:
        """See `Teacher.learned_from`; an entry for each place, where there are several."""
        places = list(dict.fromkeys(_place(settings.argument, one) for one in manifests)) or [
            brought(settings.argument)
        ]
        specs = [settings.spec] if len(places) == 1 else [f"{cls.name}:{named(place)}" for place in places]
        return {spec: kept(place) for spec, place in zip(specs, places)}

    def fingerprint(self) -> str:
        """Key of the file's content."""
        content = content_key(self.path)
        return fingerprint(content if self.frames == 1 else [content, self.frames])

    def rows(self, ids: list[str], over_time: bool = False) -> np.ndarray:
        """Vectors of `ids`, float32 (len(ids), dim), averaged over time, or (len(ids), frames, dim).

        Raises
        ------
        StoreError
            An id is not there; the first is named.
        """
        rows = np.asarray(self._store.data[self._numbers(ids)], dtype=np.float32)
        if self.frames == 1 and not over_time:
            return rows
        vectors = rows.reshape(len(rows), self.frames, self.dim)
        return vectors if over_time else vectors.mean(1)

    def keys(self, ids: list[str]) -> list[str]:
        """Content keys of `ids` where there is no audio: those of their vectors; see `vector_keys`."""
        return vector_keys(self._store.data[self._numbers(ids)])

    def _numbers(self, ids: list[str]) -> list[int]:
        if any(clip not in self._row_of for clip in ids):
            self._row_of |= spelled_otherwise(self._row_of, ids)
        missing = [clip for clip in ids if clip not in self._row_of]
        if missing:
            there = f"; it holds {next(iter(self._row_of))!r}, say" if self._row_of else ""
            raise StoreError(f"{self.path} lacks {len(missing)} of {len(ids)} clips, {missing[0]!r} first{there}")
        return [self._row_of[clip] for clip in ids]


def _place(path: str | os.PathLike, manifest: Manifest) -> Path:
    """Where the vectors of a manifest's clips lie."""
    path = os.fspath(path).replace("{dataset}", manifest.name)
    return Path(path) if os.path.exists(path) else brought_from(manifest.folder, path)
