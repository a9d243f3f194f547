"""From clips to a store of embeddings, by whatever teacher."""

from __future__ import annotations

import numbers
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import MAX_RATE, MIN_RATE
from embcomp.audio.features import Features
from embcomp.audio.views import view_settings
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, EmbcompError, TeacherError
from embcomp.storage.seen import Seen
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.stored import StoredTeacher

_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|failed to allocate|bad_alloc|can't allocate", re.IGNORECASE
)


def open_teacher(settings: TeacherSettings, manifest: Manifest | None = None) -> Teacher:
    """The teacher that `settings` name; see `Teacher.open`.

    Raises
    ------
    ConfigError
        It has to be learned from clips first.
    TeacherError
        It cannot be opened, or what it says of itself makes no sense.
    """
    if settings.learns:
        name = settings.choice.name
        raise ConfigError(
            f"the teacher {name} has to be learned from clips first; name one that was, {name}:FOLDER "
            "(embcomp embed leaves it at OUT.teacher)"
        )
    teacher = settings.choice.open(settings, manifest)
    if teacher.runs:
        check_teacher(teacher, settings.spec)
    return teacher


def require_teacher(settings: TeacherSettings) -> None:
    """Refuse a teacher, or a member of a join, that cannot be opened on this machine; see `Teacher.require`."""
    for one in settings.members or (settings,):
        one.choice.require(one)


def check_teacher(teacher: Teacher, spec: str) -> None:
    """Refuse a teacher whose rate or width is no number that could be.

    Raises
    ------
    TeacherError
        With what it said.
    """
    rate, dim, frames = teacher.sample_rate, teacher.dim, teacher.frames
    if not isinstance(rate, numbers.Integral) or not MIN_RATE <= rate <= MAX_RATE:
        raise TeacherError(
            f"the teacher {spec} says sample_rate {rate!r}; it must be a whole number of {MIN_RATE} to {MAX_RATE} Hz"
        )
    if not isinstance(dim, numbers.Integral) or dim < 1 or not isinstance(frames, numbers.Integral) or frames < 1:
        raise TeacherError(f"the teacher {spec} says dim {dim!r} and frames {frames!r}; both must be whole, 1 or more")
    if dim % frames:
        raise TeacherError(f"the teacher {spec} says dim {dim}, which {frames} frames of equal width cannot fill")


class Fitting:
    """How many clips at once a teacher has memory for.

    Attributes
    ----------
    clips : int or None
        None as long as there was enough for all that were given.
    """

    clips: int | None = None


def embed_batch(
    teacher: Teacher, waveforms: np.ndarray, lengths: np.ndarray, ids: Sequence[str], fitting: Fitting | None = None
) -> np.ndarray:
    """`Teacher.embed`, whose failures become one line that says what to do.

    Where memory is too small for the clips, of the processor or of a GPU, half of them are tried, and so on.

    Parameters
    ----------
    ids : sequence of str
        Of the clips, for messages.
    fitting : Fitting, optional
        Keeps how many clips fit, for the next call.

    Returns
    -------
    ndarray of shape (n, dim), float32

    Raises
    ------
    TeacherError
        It failed, had too little memory for one clip, or gave another shape, NaN or infinity.
    """
    fitting = Fitting() if fitting is None else fitting
    if fitting.clips is not None and len(ids) > fitting.clips:
        return _in_parts(teacher, waveforms, lengths, ids, fitting)
    longest = waveforms.shape[1] / teacher.sample_rate
    what = f"the teacher {getattr(getattr(teacher, 'settings', None), 'spec', teacher.name)}"
    vectors = None
    try:
        vectors = np.asarray(teacher.embed(waveforms, lengths))
    except EmbcompError:
        raise
    except Exception as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            reason = (str(error).strip().splitlines() or [""])[0]
            raise TeacherError(
                f"{what} failed on {len(ids)} clips from {ids[0]!r} on: {type(error).__name__}: {reason}; "
                "`embcomp teachers check` tries it on a clip of its own"
            ) from error
        if len(ids) == 1:
            raise TeacherError(
                f"{what} ran out of memory on {len(ids)} clips of up to {longest:.3g} s: cut them shorter "
                "(--seconds, audio.seconds), or embed in windows where it can (teacher.window)"
            ) from error
    if vectors is None:  # tried again outside of the handler, whose error keeps what the failed call had in memory
        fitting.clips = len(ids) // 2
        torch.cuda.empty_cache()  # without a GPU nothing happens
        return _in_parts(teacher, waveforms, lengths, ids, fitting)
    if vectors.shape != (len(ids), teacher.dim):
        raise TeacherError(
            f"{what} gave shape {vectors.shape} for {len(ids)} clips where {(len(ids), teacher.dim)} was promised: "
            "one row per clip, of width dim"
        )
    if vectors.dtype.kind not in "fiu":
        raise TeacherError(f"{what} gave {vectors.dtype} where numbers were promised")
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise TeacherError(
            f"{what} gave NaN or infinity for {bad.sum()} of {len(ids)} clips, {ids[int(np.argmax(bad))]!r} first: "
            "listen to that clip (silence? very loud?), and leave it out of the manifest or fix the teacher"
        )
    return vectors.astype(np.float32, copy=False)


def _in_parts(
    teacher: Teacher, waveforms: np.ndarray, lengths: np.ndarray, ids: Sequence[str], fitting: Fitting
) -> np.ndarray:
    found, start = [], 0
    while start < len(ids):
        part = slice(start, start + fitting.clips)  # which may become fewer on the way
        longest = max(1, int(np.max(lengths[part])))
        found.append(embed_batch(teacher, waveforms[part, :longest], lengths[part], ids[part], fitting))
        start = part.stop
    return np.concatenate(found)


def learned_teacher(
    clips: Clips | Sequence[Clips],
    settings: TeacherSettings,
    path: str | os.PathLike,
    learned_on: str,
    hashes: Sequence[str] | None = None,
) -> Teacher:
    """Learn a teacher from clips, decoded at its own rate, and save it at `path`; or open it if it is there.

    Of more clips than it has a use for (`Teacher.most_clips`), some are drawn by its seed and the others not decoded.

    Parameters
    ----------
    clips : Clips, or several
    settings : TeacherSettings
        Of a teacher that learns.
    learned_on : str
        Key of the clips and settings, kept with the teacher.
    hashes : sequence of str, optional
        Of the clips, in any order, from `Clips.hashes`; kept with the teacher as what it has seen.

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
    parts = _to_learn([clips] if isinstance(clips, Clips) else clips, settings)
    batches = (
        (waveforms, lengths) for part in parts for _, waveforms, lengths in part.at(choice.sample_rate).batches(64)
    )
    teacher = choice.learn(batches, sum(map(len, parts)), settings)
    teacher.learned_on, teacher.seen = learned_on, None if hashes is None else Seen.of(hashes)
    teacher.save(path)
    return teacher


def _to_learn(parts: Sequence[Clips], settings: TeacherSettings) -> Sequence[Clips]:
    """The clips that a teacher learns from, in order."""
    count, most = sum(map(len, parts)), settings.choice.most_clips(settings)
    if most is None or count <= most:
        return parts
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(count)[:most])
    ends = np.cumsum([len(part) for part in parts])
    found = []
    for part, end in zip(parts, ends):
        first, last = np.searchsorted(chosen, (end - len(part), end))
        found.append(replace(part, manifest=part.manifest.select(chosen[first:last] - (end - len(part)))))
    return found


def embedder(clips: Clips, teacher: Teacher) -> Callable[[np.ndarray], np.ndarray]:
    """What decodes and embeds clips by their row numbers: (n,) to float32 (n, dim), averaged over time."""
    vectors_of = rows_of(clips, None, teacher)

    def averaged(rows: np.ndarray) -> np.ndarray:
        vectors = vectors_of(rows)
        return vectors if teacher.frames == 1 else vectors.reshape(len(rows), teacher.frames, -1).mean(1)

    return averaged


def rows_of(
    clips: Clips, hashes: list[str] | None, teacher: Teacher, logmels: Features | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """From row numbers (n,) to vectors (n, dim): of clips at the teacher's rate, or at that of each of its members.

    With `hashes`, audio that is not what was hashed is refused. Of several teachers, those that look vectors up take ids.
    Where the very log-mels that the teacher makes are kept of the same clips, no file is read.
    """
    if getattr(teacher, "members", ()):
        parts = [rows_of(clips, hashes, one) for one in teacher.members]
        return lambda rows: teacher.join([part(rows) for part in parts])
    ids = clips.manifest.ids
    if not getattr(teacher, "runs", True):
        if view_settings(clips):
            raise TeacherError(f"the teacher {teacher.name} holds vectors, and cannot embed views of clips")
        return lambda rows: teacher.rows([ids[row] for row in rows])
    if logmels is not None:
        return lambda rows: teacher.embed_logmels(*logmels.load([ids[row] for row in rows]))
    clips = clips.at(teacher.sample_rate)
    batch = clips.batch if hashes is None else clips.unchanged(hashes)
    fitting = Fitting()
    return lambda rows: embed_batch(teacher, *batch(rows), [ids[row] for row in rows], fitting)


def store_settings(clips: Clips, teacher: Teacher) -> dict[str, Any]:
    """What the rows of a store are made with: the teacher, or all that it joins, and how clips are decoded for it."""
    own = {"teacher": teacher.name, "weights": teacher.fingerprint(), **view_settings(clips)}
    if getattr(teacher, "members", ()):
        made_of = [store_settings(clips, one) | {"dim": one.dim} for one in teacher.members]
        return own | {"members": made_of}
    if not getattr(teacher, "runs", True):
        return own | _frames_of(teacher)
    rate = {"seconds": clips.seconds, "sample_rate": teacher.sample_rate}
    return own | rate | ({"channel": clips.channel} if clips.channel != "mix" else {}) | _frames_of(teacher)


def embed(
    clips: Clips,
    hashes: list[str],
    teacher: Teacher,
    path: str | os.PathLike,
    *,
    progress: Callable[[int], None] | None = None,
    dtype: str = "float32",
    reuse: str | os.PathLike | None = None,
    spread: Any = None,
    logmels: Features | None = None,
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
    spread : embcomp.teachers.spread.Spread, optional
        Several workers that share the work, with the same bytes.
    logmels : Features, optional
        Of the same clips with the same `hashes`, where ``teacher.takes_logmels`` of their settings.

    Raises
    ------
    StoreError
        Another store is at `path`, or the teacher lacks vectors of some clips.
    AudioError
        A clip changed since it was hashed.
    TeacherError
        The teacher failed, or gave what is no embedding; rows that are finished stay for the next call.
    """
    if not getattr(teacher, "runs", True) and not teacher.members:
        return _looked_up(clips.manifest, hashes, teacher, path, dtype)
    return write_store(
        path,
        clips.manifest.ids,
        hashes,
        teacher.dim,
        store_settings(clips, teacher),
        rows_of(clips, hashes, teacher, logmels),
        progress=progress,
        dtype=dtype,
        reuse=reuse,
        spread=None if spread is None else spread.over(clips, hashes, teacher, path),
    )


def _looked_up(
    manifest: Manifest, hashes: list[str], teacher: StoredTeacher, path: str | os.PathLike, dtype: str
) -> EmbeddingStore:
    ids = manifest.ids
    settings = {"teacher": teacher.name, "weights": teacher.fingerprint(), **_frames_of(teacher)}

    def flat(rows: np.ndarray) -> np.ndarray:
        return teacher.rows([ids[row] for row in rows], over_time=True).reshape(len(rows), -1)

    return write_store(path, ids, hashes, teacher.frames * teacher.dim, settings, flat, batch_size=4096, dtype=dtype)


def _frames_of(teacher: Teacher) -> dict[str, int]:
    """The setting of a store that has several vectors per row."""
    return {"frames": teacher.frames} if getattr(teacher, "frames", 1) > 1 else {}
