"""Embed the clips of a manifest: the library call behind ``embcomp embed``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embcomp.audio.clips import Clips, names_audio
from embcomp.audio.views import View, ViewedClips
from embcomp.config import AudioConfig, read_choice
from embcomp.data.manifest import Manifest
from embcomp.engines import open_engine
from embcomp.errors import BadClip, ConfigError
from embcomp.storage.files import fingerprint
from embcomp.storage.outputs import begun, into_results
from embcomp.storage.ownership import refuse_foreign
from embcomp.storage.places import named
from embcomp.storage.store import EmbeddingStore
from embcomp.storage.taught import keep
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.embedding import embed, learned_teacher, open_teacher, require_teacher
from embcomp.teachers.joining import embed_joined
from embcomp.teachers.spread import Spread, on_cpu

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Embedded:
    """What `embed_manifest` wrote.

    Attributes
    ----------
    store : EmbeddingStore
    teacher : Teacher
    bad : tuple of BadClip
        Unusable clips that were left out.
    cut : int
        Clips longer than `seconds`, of which only the start was embedded.
    has_audio : bool
        False if no row names an audio file and all vectors were looked up by id.
    views : tuple of EmbeddingStore
        Of changed versions of the clips.
    """

    store: EmbeddingStore
    teacher: Teacher
    bad: tuple[BadClip, ...]
    cut: int
    has_audio: bool
    views: tuple[EmbeddingStore, ...] = ()


@into_results
def embed_manifest(
    manifest: Manifest,
    out: str | os.PathLike,
    *,
    teacher: str | TeacherSettings = "kmeans",
    options: Mapping[str, Any] | None = None,
    splits: Sequence[str] = (),
    seconds: float = 10.0,
    audio: AudioConfig | None = None,
    dtype: str = "float32",
    skip_bad: bool = False,
    views: Sequence[View] = (),
    progress: Progress | None = None,
    workers: int = 1,
    engine: str = "local",
    threads: int = 1,
) -> Embedded:
    """Compute embeddings of the clips of a manifest and store them.

    An interrupted call continues when repeated; if `out` is a store of the same teacher and settings, only new
    and changed clips are embedded.

    Parameters
    ----------
    manifest : Manifest
    out : path
        Folder of the store. A teacher that has to be learned from the clips first, or fitted to them as a join of
        several is, is saved next to it, as ``OUT.teacher``.
    teacher : str or TeacherSettings
        ``NAME`` or ``NAME:ARGUMENT``, as ``--teacher`` takes it, or settings of a teacher. ``A + B`` joins several, see
        `embcomp.teachers.joined`.
    options : mapping, optional
        Settings of the teacher by name, for a `teacher` given as a string.
    splits : sequence of str
        Embed only clips with one of these values in the column split; empty: all.
    seconds : float, default=10.0
        Longer clips are cut to this length.
    audio : AudioConfig, optional
        How files are decoded: `channel` and `ffmpeg`. Teachers choose the sample rate.
    dtype : {"float32", "float16"}
        Of the stored numbers.
    skip_bad : bool, default=False
        Leave out unusable clips instead of raising.
    views : sequence of View, optional
        Changed versions of every clip to embed, too, in stores beside `out`: ``OUT.view1`` and so on, by their numbers.
    progress : callable, optional
        Called as ``progress(stage, done, total)``, stage ``check`` or ``embed``.
    workers : int, default=1
        Processes that embed; 0 is one per free core, of a Ray cluster one per core. The store's bytes do not depend on it.
    engine : str, default="local"
        Where they run: ``local`` or ``ray``, see `embcomp.engines`. One local worker is this process.
    threads : int, default=1
        Threads of the numeric libraries of each, if they are not this process.

    Returns
    -------
    Embedded

    Raises
    ------
    ConfigError
        There is no such teacher or option, or views are asked of one that does not run.
    AudioError
        Clips cannot be used (all are named) and `skip_bad` is false.
    ManifestError, StoreError, ArtifactError
        There is no such split, or `out` is something else.
    MissingDependencyError
        The engine, or the teacher, needs a package that is not installed.
    TeacherError
        The teacher is one of the catalogue and was not fetched, or cannot be opened.

    Examples
    --------
    >>> import embcomp                                                               # doctest: +SKIP
    >>> found = embcomp.embed(embcomp.Manifest.read("train.csv"), "embeddings")      # doctest: +SKIP
    >>> found.store.dim                                                              # doctest: +SKIP
    1536
    """
    refuse_foreign(out, "store")
    progress = progress or (lambda stage, done, total: None)
    settings = read_choice("teacher", {"spec": teacher, **(options or {})}) if isinstance(teacher, str) else teacher
    if engine == "local":  # of a cluster, the workers have it
        require_teacher(settings)
    places = {view: Path(out).with_name(f"{Path(out).name}.view{view.number}") for view in views}
    if silent := [one.spec for one in settings.members or [settings] if places and not one.choice.runs]:
        raise ConfigError(f"the teacher {silent[0]!r} holds vectors, and cannot embed views; take a teacher that runs")
    for place in places.values():
        begun(named(place))
        refuse_foreign(place, "store")
    crew = nullcontext() if engine == "local" and workers == 1 else open_engine(engine, workers, threads)
    chosen = manifest.with_splits(splits)
    clips = Clips.of(chosen, audio or AudioConfig(), seconds)
    if not settings.choice.runs and not names_audio(manifest):
        opened = open_teacher(settings, manifest)
        store = embed(clips, opened.keys(chosen.ids), opened, out, dtype=dtype)
        keep(store.path, opened.seen)
        return Embedded(store, opened, (), 0, False)
    checked = clips.check(skip_bad, _counted(progress, "check", len(chosen)))
    clips = checked.clips
    hashes = clips.hashes()
    with crew as opened_engine:
        opened, store, changed = _embedded(
            clips, hashes, settings, Path(out), manifest, places, dtype, opened_engine, progress
        )
    for written in (store, *changed):
        keep(written.path, opened.seen)
    cut = checked.longer if opened.runs else 0
    return Embedded(store, opened, tuple(checked.bad), cut, True, tuple(changed))


def _embedded(
    clips: Clips,
    hashes: list[str],
    settings: TeacherSettings,
    out: Path,
    manifest: Manifest,
    places: Mapping[View, Path],
    dtype: str,
    engine: Any,
    progress: Progress,
) -> tuple[Teacher, EmbeddingStore, list[EmbeddingStore]]:
    """The teacher, the store of the clips and those of their views."""
    beside = begun(named(out.with_name(f"{out.name}.teacher")))
    saved = replace(settings, argument=str(beside)) if settings.learns else settings
    if settings.members:
        saved = replace(saved, run_code=True)  # of its members, all of whom the caller has named
    spread = engine and Spread(engine, saved)
    if settings.members:
        counted = _counted(progress, "embed", len(clips) * len(settings.members))
        options = {"manifest": manifest, "progress": counted, "dtype": dtype, "engine": engine}
        opened, store = embed_joined(clips, hashes, settings, out, **options)
    else:
        if settings.learns:
            key = fingerprint([settings.options(), hashes, clips.seconds])
            opened = learned_teacher(clips, settings, beside, key, hashes)
        else:
            opened = open_teacher(on_cpu(settings) if engine else settings, manifest)
        counted = _counted(progress, "embed", len(clips))
        store = embed(clips, hashes, opened, out, progress=counted, dtype=dtype, spread=spread)
    counted = _counted(progress, "views", len(clips) * len(places))
    changed = [
        embed(ViewedClips.viewed(clips, view), hashes, opened, place, progress=counted, dtype=dtype, spread=spread)
        for view, place in places.items()
    ]
    return opened, store, changed


def _counted(progress: Progress, stage: str, total: int) -> Callable[[int], None]:
    """A callback for the number of clips just done."""
    done = 0

    def update(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, total)

    return update
