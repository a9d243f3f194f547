"""Frozen models that turn clips into embeddings.

A computing teacher has ``name``, ``sample_rate`` (Hz), ``dim``, ``fingerprint()``
and ``embed(waveforms (n, samples), lengths) -> (n, dim)``; a stored one
(`StoredTeacher`) only looks vectors up. Where a teacher's ``frames`` is k > 1, its rows
hold k vectors one after the other, of equal shares of the clip's time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.config import TeacherConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, choose
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers.kmeans import KMeansTeacher
from embcomp.teachers.stored import StoredTeacher

__all__ = [
    "KINDS",
    "KMeansTeacher",
    "StoredTeacher",
    "Teacher",
    "check_runs",
    "embed",
    "embedder",
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


def check_runs(spec: str) -> str:
    """Refuse a teacher that only looks vectors up; return the argument of one that computes.

    Raises
    ------
    ConfigError
        Says what takes stored vectors.
    """
    kind, argument = parse_spec(spec)
    if kind == "store":
        raise ConfigError(
            f"the teacher {spec!r} holds vectors and cannot run at every step; "
            "use the transfer method clip_samples, which takes them, or a teacher that runs"
        )
    return argument


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
        teacher = KMeansTeacher.load(path, config.frames)
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


def embedder(clips: Clips, teacher: Teacher) -> Callable[[np.ndarray], np.ndarray]:
    """What decodes and embeds clips by their row numbers: (n,) to float32 (n, dim), averaged over time.

    Raises
    ------
    ConfigError
        The clips were decoded at another rate than the teacher's.
    """
    _check_rate(clips, teacher)
    frames = getattr(teacher, "frames", 1)

    def averaged(rows: np.ndarray) -> np.ndarray:
        vectors = teacher.embed(*clips.batch(rows))
        return vectors if frames == 1 else vectors.reshape(len(rows), frames, -1).mean(1)

    return averaged


def _check_rate(clips: Clips, teacher: Teacher) -> None:
    if clips.sample_rate != teacher.sample_rate:
        raise ConfigError(
            f"teacher {teacher.name} takes {teacher.sample_rate} Hz, the clips have {clips.sample_rate} Hz"
        )


def embed(
    clips: Clips,
    hashes: list[str],
    teacher: Teacher,
    path: str | os.PathLike,
    *,
    progress: Callable[[int], None] | None = None,
    dtype: str = "float32",
    reuse: str | os.PathLike | None = None,
) -> EmbeddingStore:
    """Embed every clip into a store, going on where an earlier call stopped.

    Where a store of the same teacher and settings stands, only clips that are new or changed are embedded.

    Parameters
    ----------
    hashes : list of str
        Of each clip, from `Clips.hashes`.
    reuse : path, optional
        A folder of further stores to copy the rows of unchanged clips from.

    Raises
    ------
    ConfigError
        The clips were decoded at another rate than the teacher's.
    StoreError
        Another store stands at `path`.
    AudioError
        A clip changed since it was hashed.
    """
    _check_rate(clips, teacher)
    settings = {
        "teacher": teacher.name,
        "weights": teacher.fingerprint(),
        "seconds": clips.seconds,
        "sample_rate": clips.sample_rate,
        **_frames_of(teacher),
    }
    batch = clips.unchanged(hashes)
    return write_store(
        path,
        clips.manifest.ids,
        hashes,
        teacher.dim,
        settings,
        lambda rows: teacher.embed(*batch(rows)),
        progress=progress,
        dtype=dtype,
        reuse=reuse,
    )


def stored_embeddings(
    manifest: Manifest, hashes: list[str], teacher: StoredTeacher, path: str | os.PathLike
) -> EmbeddingStore:
    """Copy somebody's vectors for the clips of `manifest` into a store."""
    ids = manifest.ids
    settings = {"teacher": "store", "weights": teacher.fingerprint(), **_frames_of(teacher)}

    def flat(rows: np.ndarray) -> np.ndarray:
        return teacher.rows([ids[row] for row in rows], over_time=True).reshape(len(rows), -1)

    return write_store(path, ids, hashes, teacher.frames * teacher.dim, settings, flat, batch_size=4096)


def _frames_of(teacher: Teacher | StoredTeacher) -> dict[str, int]:
    """The setting that tells a store of several vectors per row."""
    frames = getattr(teacher, "frames", 1)
    return {"frames": frames} if frames > 1 else {}


def kmeans_settings(config: TeacherConfig) -> dict:
    """What a learned k-means teacher depends on, beside the clips."""
    return {key: value for key, value in asdict(config).items() if key != "spec"}
