"""Frozen models that turn clips into embeddings.

A computing teacher has ``name``, ``sample_rate`` (Hz), ``dim``, ``fingerprint()``
and ``embed(waveforms (n, samples), lengths) -> (n, dim)``; a stored one
(`StoredTeacher`) only looks vectors up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

import numpy as np

from embcomp.clips import Clips
from embcomp.config import TeacherConfig
from embcomp.errors import ArtifactError, ConfigError, choose
from embcomp.manifest import Manifest
from embcomp.store import EmbeddingStore, write_store
from embcomp.teachers.kmeans import KMeansTeacher
from embcomp.teachers.stored import StoredTeacher

__all__ = [
    "KINDS",
    "KMeansTeacher",
    "StoredTeacher",
    "Teacher",
    "embed",
    "learned_kmeans",
    "parse_spec",
    "stored_embeddings",
]

KINDS = {
    "kmeans": "learned from the training clips, or kmeans:FOLDER",
    "store": "store:PATH, embeddings you already have",
}


class Teacher(Protocol):
    """What a computing teacher must offer; everything else is its adapter's problem."""

    name: str
    sample_rate: int
    dim: int

    def fingerprint(self) -> str:
        """Key of the weights and of every option that changes an embedding."""

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Waveforms (n, samples) in [-1, 1] and valid samples (n,) to float32 (n, dim)."""


def parse_spec(spec: str) -> tuple[str, str]:
    """Part ``kind:argument``.

    Raises
    ------
    ConfigError
        The kind is unknown, or lacks the argument it needs.
    """
    kind, _, argument = spec.partition(":")
    choose("teacher", kind, KINDS)
    if kind == "store" and not argument:
        raise ConfigError("the teacher 'store' needs a path: store:PATH")
    return kind, argument


def learned_kmeans(clips: Clips, config: TeacherConfig, path: str | os.PathLike, learned_on: str) -> KMeansTeacher:
    """Learn the k-means teacher from `clips` and save it at `path`, or load it where it stands.

    Parameters
    ----------
    learned_on : str
        Key of the clips and settings, kept with the teacher.

    Raises
    ------
    ArtifactError
        A teacher learned from something else stands at `path`.
    """
    if os.path.exists(path):
        teacher = KMeansTeacher.load(path)
        if teacher.learned_on != learned_on:
            raise ArtifactError(
                f"{path} was learned from other clips or settings; use it as kmeans:{path}, delete it, or choose another --out"
            )
        return teacher
    batches = ((waveforms, lengths) for _, waveforms, lengths in clips.batches(64))
    teacher = KMeansTeacher.learn(batches, len(clips), config)
    teacher.learned_on = learned_on
    teacher.save(path)
    return teacher


def embed(
    clips: Clips,
    hashes: list[str],
    teacher: Teacher,
    path: str | os.PathLike,
    *,
    progress: Callable[[int], None] | None = None,
    dtype: str = "float32",
) -> EmbeddingStore:
    """Embed every clip into a store, going on where an earlier call stopped.

    Raises
    ------
    ConfigError
        The clips were decoded at another rate than the teacher's.
    StoreError
        Another store stands at `path`.
    """
    if clips.sample_rate != teacher.sample_rate:
        raise ConfigError(
            f"teacher {teacher.name} takes {teacher.sample_rate} Hz, the clips have {clips.sample_rate} Hz"
        )
    settings = {
        "teacher": teacher.name,
        "weights": teacher.fingerprint(),
        "seconds": clips.seconds,
        "sample_rate": clips.sample_rate,
    }
    return write_store(
        path,
        clips.manifest.ids,
        hashes,
        teacher.dim,
        settings,
        lambda rows: teacher.embed(*clips.batch(rows)),
        progress=progress,
        dtype=dtype,
    )


def stored_embeddings(
    manifest: Manifest, hashes: list[str], teacher: StoredTeacher, path: str | os.PathLike
) -> EmbeddingStore:
    """Copy somebody's vectors for the clips of `manifest` into a store."""
    ids = manifest.ids
    settings = {"teacher": "store", "weights": teacher.fingerprint()}
    return write_store(
        path, ids, hashes, teacher.dim, settings, lambda rows: teacher.rows([ids[row] for row in rows]), batch_size=4096
    )


def kmeans_settings(config: TeacherConfig) -> dict:
    """What a learned k-means teacher depends on, beside the clips."""
    return {key: value for key, value in asdict(config).items() if key != "spec"}
