"""From clips to a store of embeddings, by whatever teacher."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.stored import StoredTeacher


def open_teacher(settings: TeacherSettings, manifest: Manifest | None = None) -> Teacher:
    """The teacher that `settings` name; see `Teacher.open`.

    Raises
    ------
    ConfigError
        It has to be learned from clips first.
    """
    if settings.learns:
        name = settings.choice.name
        raise ConfigError(
            f"the teacher {name} has to be learned from clips first; name one that was, {name}:FOLDER "
            "(embcomp embed leaves it at OUT.teacher)"
        )
    return settings.choice.open(settings, manifest)


def learned_teacher(clips: Clips, settings: TeacherSettings, path: str | os.PathLike, learned_on: str) -> Teacher:
    """Learn a teacher from `clips`, decoded at its own rate, and save it at `path`; or open it if it is there.

    Parameters
    ----------
    settings : TeacherSettings
        Of a teacher that learns.
    learned_on : str
        Key of the clips and settings, kept with the teacher.

    Raises
    ------
    ArtifactError
        A teacher learned from something else is at `path`.
    """
    choice = settings.choice
    if os.path.exists(path):
        teacher = choice.open(replace(settings, argument=str(path)))
        if teacher.learned_on != learned_on:
            raise ArtifactError(
                f"{path} was learned from other clips or settings; use it as {choice.name}:{path}, or choose another --out"
            )
        return teacher
    batches = ((waveforms, lengths) for _, waveforms, lengths in clips.at(choice.sample_rate).batches(64))
    teacher = choice.learn(batches, len(clips), settings)
    teacher.learned_on = learned_on
    teacher.save(path)
    return teacher


def embedder(clips: Clips, teacher: Teacher) -> Callable[[np.ndarray], np.ndarray]:
    """What decodes and embeds clips by their row numbers: (n,) to float32 (n, dim), averaged over time."""
    clips = clips.at(teacher.sample_rate)

    def averaged(rows: np.ndarray) -> np.ndarray:
        vectors = teacher.embed(*clips.batch(rows))
        return vectors if teacher.frames == 1 else vectors.reshape(len(rows), teacher.frames, -1).mean(1)

    return averaged


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

    Clips are decoded at the teacher's sample rate. Where `path` has a store of the same teacher and
    settings, only clips that are new or changed are embedded. A teacher that looks vectors up copies them.

    Parameters
    ----------
    hashes : list of str
        Of each clip, from `Clips.hashes`.
    progress : callable, optional
        Called with the number of clips just done.
    reuse : path, optional
        A folder of further stores to copy the rows of unchanged clips from.

    Raises
    ------
    StoreError
        Another store is at `path`, or the teacher lacks vectors of some clips.
    AudioError
        A clip changed since it was hashed.
    """
    if not teacher.runs:
        return _looked_up(clips.manifest, hashes, teacher, path)
    clips = clips.at(teacher.sample_rate)
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


def _looked_up(
    manifest: Manifest, hashes: list[str], teacher: StoredTeacher, path: str | os.PathLike
) -> EmbeddingStore:
    ids = manifest.ids
    settings = {"teacher": teacher.name, "weights": teacher.fingerprint(), **_frames_of(teacher)}

    def flat(rows: np.ndarray) -> np.ndarray:
        return teacher.rows([ids[row] for row in rows], over_time=True).reshape(len(rows), -1)

    return write_store(path, ids, hashes, teacher.frames * teacher.dim, settings, flat, batch_size=4096)


def _frames_of(teacher: Teacher) -> dict[str, int]:
    """The setting of a store that has several vectors per row."""
    return {"frames": teacher.frames} if teacher.frames > 1 else {}
