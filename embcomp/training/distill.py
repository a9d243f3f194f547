"""Train one student from a manifest: the library call behind ``embcomp distill``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from embcomp.audio.clips import Clips
from embcomp.config import AudioConfig, DataConfig, VariantConfig, to_dict
from embcomp.data.guards import refuse_shared_clips
from embcomp.data.inputs import input_path, read_inputs
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.data.splits import validation_split
from embcomp.distributed import Group, joined
from embcomp.errors import ArtifactError, ConfigError, StoreError
from embcomp.storage.artifact import CONFIG, OWN_NOTES, WEIGHTS
from embcomp.storage.bringing import here
from embcomp.storage.files import fingerprint
from embcomp.storage.outputs import begun, writing_to
from embcomp.storage.ownership import advice, refuse_foreign, strangers
from embcomp.storage.publishing import withdraw
from embcomp.storage.store import EmbeddingStore
from embcomp.storage.taught import kept, together
from embcomp.students.classifier import Classifier
from embcomp.students.given import Given, given_audio, given_rows
from embcomp.teachers import Teacher, embedder
from embcomp.training.assembly import Lesson, Part, train_student, used
from embcomp.training.compress import fit_compressor
from embcomp.training.devices import check_device, check_processes, warn_of_bfloat16
from embcomp.training.parallel import shared_teacher
from embcomp.training.tracking import TRACKERS
from embcomp.training.viewing import with_views
from embcomp.transfer import Source


def distill(
    manifest: Manifest,
    out: str | os.PathLike,
    *,
    variant: VariantConfig,
    targets: EmbeddingStore | None = None,
    unlabelled: Sequence[tuple[Manifest, EmbeddingStore]] = (),
    views: Sequence[EmbeddingStore] = (),
    teacher: Teacher | None = None,
    audio: AudioConfig | None = None,
    data: DataConfig | None = None,
    validation: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    skip_bad: bool = False,
    cache: str | os.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> Classifier:
    """Train a student on every labelled clip of a manifest and save it.

    Where ``torchrun`` or `embcomp.engines.together` has started several processes that call this alike, they train the
    student together; the first one writes.

    An interrupted call goes on from its last checkpoint when repeated; a student
    that is at `out` already and was made from the same is returned.

    Parameters
    ----------
    targets : EmbeddingStore, optional
        Vectors to learn from, needed by every transfer method but ``none``. Compress
        them first for two-stage compression; give raw ones for the joint schedule.
    unlabelled : sequence of (Manifest, EmbeddingStore), optional
        Further clips, whose labels if any are not read, and their vectors, made as `targets` were. They take part in
        the transfer loss; ``training.labelled`` is the share of a batch that has labels.
    views : sequence of EmbeddingStore, optional
        Targets of changed versions of the clips, or of the unlabelled ones, one store for each version; see
        `embcomp.teachers.embed_manifest.embed_manifest`. The student gets the same changes. A method that learns from
        labels alone needs none, and gets the views of ``training.views``.
    teacher : Teacher, optional
        Runs at every step; ``clip_teacher`` needs it, and no targets.
    data : DataConfig, optional
        Of it `inputs`, `input_file` and `columns`: what the student is given where that is a table or images.
    validation : float, default=0.2
        Share of the clips, by group, that decides when to stop.
    cache : path, optional
        Folder for log-mels, by default beside `out`.

    Returns
    -------
    Classifier

    Raises
    ------
    ConfigError
        The transfer method needs targets or a teacher and got none, the teacher cannot run, or there is no such device.
    ArtifactError
        Another student is at `out`.
    AudioError, ManifestError, StoreError, DataError
        The message says how to fix it.
    """
    check_device(device)
    warn_of_bfloat16(variant.training.amp, device)
    TRACKERS[variant.training.log].check()
    with joined(device) as group:
        check_processes(variant.training.processes, group)
        with writing_to(out):
            return _distill(
                manifest, begun(out), variant, targets, unlabelled, views, teacher, audio or AudioConfig(), data, validation,
                seed, device, skip_bad, cache, progress, group,
            )  # fmt: skip


def _distill(
    manifest: Manifest,
    out: Path,
    variant: VariantConfig,
    targets: EmbeddingStore | None,
    unlabelled: Sequence[tuple[Manifest, EmbeddingStore]],
    views: Sequence[EmbeddingStore],
    teacher: Teacher | None,
    audio: AudioConfig,
    data: DataConfig | None,
    validation: float,
    seed: int,
    device: str,
    skip_bad: bool,
    cache: str | os.PathLike | None,
    progress: Callable[[int], None] | None,
    group: Group,
) -> Classifier:
    refuse_foreign(out, "student")
    source = variant.transfer.source
    if source == Source.TEACHER and teacher is None:
        raise ConfigError(
            f"transfer method {variant.transfer.method!r} runs a teacher; give --teacher NAME:FOLDER, "
            "or use --transfer clip_samples with --targets STORE"
        )
    if source != Source.TEACHER and teacher is not None:
        raise ConfigError(
            f"transfer method {variant.transfer.method!r} runs no teacher; leave --teacher out, or use --transfer clip_teacher"
        )
    reads = source in (Source.EMBEDDING, Source.TARGET)
    if reads and targets is None:
        raise ConfigError(
            f"transfer method {variant.transfer.method!r} learns from targets; give --targets STORE, or use --transfer none"
        )
    if unlabelled and not reads:
        raise ConfigError(
            f"transfer method {variant.transfer.method!r} learns nothing from unlabelled clips; leave --unlabelled out, "
            "or use a method that learns from targets"
        )
    given = _given(manifest, audio, data, skip_bad)
    hashes, manifest = given.hashes, given.manifest
    pools = [_given(pool, audio, data, skip_bad) for pool, _ in unlabelled]
    for pool in pools:
        if pool.settings != given.settings:
            raise StoreError(f"the inputs of {pool.manifest.name} are not of the columns or shape of {manifest.name}")
        refuse_shared_clips(
            dict(zip(manifest.ids, hashes)),
            dict(zip(pool.manifest.ids, pool.hashes)),
            f"the labelled clips and the unlabelled ones of {pool.manifest.name}",
        )
    variant, viewed = with_views(variant, views, [given, *pools])
    labels = encode(manifest.labels)
    key = fingerprint(
        [
            [manifest.ids, hashes, manifest.labels, manifest.groups.tolist(), validation, seed, device],
            {name: section for name, section in to_dict(variant).items() if name not in ("name", "teacher")}
            | {"training": variant.training.key()},
            given.settings,
            targets.settings if reads else teacher.fingerprint() if source == Source.TEACHER else None,
            *([pool.hashes, store.settings] for pool, (_, store) in zip(pools, unlabelled)),
            *(["view", number, *one.key()] for number, some in enumerate(viewed) for one in some),
        ]
    )
    # Its name says what it is of: another method must not go on from it.
    checkpoint = here(out.with_name(f".{out.name}.{key[:16]}.checkpoint.pt"), fresh=True)
    if out.exists() and not (out.is_dir() and not strangers(out)):
        found = Classifier.load(out)
        if found.about.get("key") == key:
            group.meet()  # not while another process still looks
            withdraw(checkpoint)  # where the call that trained it was killed at its end
            return found
        mend = advice(out, "student", (CONFIG, WEIGHTS, *OWN_NOTES))
        raise ArtifactError(f"another student is at {out}; {mend}")
    store = targets if reads else None
    # A clip without a vector is found now, not after the log-mels of all.
    for known, names in (
        (store, manifest.ids),
        *((one, pool.manifest.ids) for pool, (_, one) in zip(pools, unlabelled)),
    ):
        if known is not None:
            known.rows(names)
    cached = Path(cache) if cache is not None else out.with_name(f".{out.name}.logmel")
    rows, held = validation_split(labels.for_splits, manifest.groups, validation, seed)
    with group.in_turn():  # the first process writes the log-mels
        everything = Part(manifest.ids, hashes, given.features(cached), store, labels)
        parts = [
            Part(pool.manifest.ids, pool.hashes, pool.features(f"{cached}-{number}"), vectors)
            for number, (pool, (_, vectors)) in enumerate(zip(pools, unlabelled), 1)
        ]
        parts += [
            one.part(f"{cached}-{number}.view{one.view.number}", part)
            for number, (part, some) in enumerate(zip(list(parts), viewed[1:]), 1)
            for one in some
        ]
        fit = used(variant, everything.select(rows))
        fit_views = [one.part(f"{cached}.view{one.view.number}", everything, rows) for one in viewed[0]]
    compressor = in_loop = None
    if variant.transfer.joint:
        vectors = targets.take(list(fit.ids))
        compressor = fit_compressor(variant.compressor, vectors, fit.labels, list(fit.hashes), seed, start_only=True)
    if source == Source.TEACHER:
        place = {clip: row for row, clip in enumerate(manifest.ids)}
        clips = Clips.of(manifest.select([place[clip] for clip in fit.ids]), audio)
        in_loop = shared_teacher(embedder(clips, teacher), group)
    stores = [] if store is None else [store, *(one for _, one in unlabelled)]
    taught = together(*(kept(one.path) for one in stores), teacher.seen if in_loop else None)
    about = {
        "key": key,
        "method": variant.transfer.method,
        "seed": seed,
        "train_dataset": manifest.name,
        **({"teacher": teacher.name, "dim": teacher.dim} if source == Source.TEACHER else _targets_of(targets)),
    }
    classifier = train_student(
        variant,
        audio,
        Lesson(fit, everything.select(held), parts, compressor, in_loop, fit_views, taught),
        out,
        about=about,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    if group.first:
        withdraw(checkpoint)
    return classifier


def _given(manifest: Manifest, audio: AudioConfig, data: DataConfig | None, skip_bad: bool) -> Given:
    """What the student is given of a manifest."""
    if data is None or data.inputs in ("auto", "audio"):
        return given_audio(manifest, audio, skip_bad)
    path = Path(data.input_file)
    path = path if path.exists() else input_path(path, manifest)
    return given_rows(manifest, read_inputs(data.inputs, path, manifest.ids, data.columns), skip_bad)


def _targets_of(targets: EmbeddingStore | None) -> dict:
    if targets is None:
        return {}
    source = targets.settings.get("source", targets.settings)
    return {"teacher": source.get("teacher", ""), "compressor": targets.settings.get("method", ""), "dim": targets.dim}
