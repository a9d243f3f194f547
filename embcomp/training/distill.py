"""Train one student from a manifest: the library call behind ``embcomp distill``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from embcomp.audio.clips import Clips
from embcomp.audio.features import compute_features
from embcomp.compression import Compressor
from embcomp.config import AudioConfig, CompressorConfig, VariantConfig, to_dict
from embcomp.data.labels import Labels, encode
from embcomp.data.manifest import Manifest
from embcomp.data.splits import validation_split
from embcomp.errors import ArtifactError, ConfigError
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.students.classifier import Classifier
from embcomp.teachers import Teacher, embedder
from embcomp.training.devices import check_device
from embcomp.training.examples import Examples
from embcomp.training.loop import TrainingResult, train
from embcomp.transfer import Source, build_transfer


def teach(
    variant: VariantConfig,
    audio: AudioConfig,
    fit: Examples,
    validation: Examples,
    targets: np.ndarray | None,
    start: nn.Module | None = None,
    teacher: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    seed: int,
    device: str = "cpu",
    checkpoint: str | os.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Classifier, TrainingResult]:
    """Build a student and train it.

    Parameters
    ----------
    variant : VariantConfig
        Its transfer, student and training sections decide.
    audio : AudioConfig
        How the features were made; kept with the student.
    fit, validation : Examples
    targets : ndarray of shape (n, d), or None
        Frozen vectors of the clips of `fit`; (n, k, d) for a method that compares over time.
    start : nn.Module, optional
        Compressor to train jointly.
    teacher : callable, optional
        Rows of `fit` to their embeddings, for ``clip_teacher``.

    Returns
    -------
    classifier : Classifier
    result : TrainingResult
    """
    classifier = Classifier.new(fit.labels.classes, audio, variant.student, fit.labels.multi_label, seed)
    # Initial weights and dropout come from torch's global generator; the caller's is left as it was.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        transfer = build_transfer(variant.transfer, fit.labels.multi_label, start, teacher)
        transfer.prepare(targets, fit.labels, classifier.network.embedding_width)
        result = train(
            classifier.network,
            transfer,
            fit,
            validation,
            variant.training,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
        )
    return classifier, result


def fit_compressor(
    config: CompressorConfig,
    vectors: np.ndarray,
    labels: Labels | None,
    hashes: list[str],
    seed: int,
    start_only: bool = False,
) -> Compressor:
    """Fit a compressor as `config` describes it.

    Parameters
    ----------
    vectors : ndarray of shape (n, D)
    labels : Labels, or None
        None suits objectives that need no label.
    hashes : list of str
        Content hashes of the clips, kept in the artifact as what it has seen.
    start_only : bool, default=False
        The closed-form start, without training.
    """
    options = {"epochs": 0} if start_only else {}
    model = Compressor(config.dim, method=config.method, objective=config.objective, random_state=seed, **options)
    target = None if labels is None else (labels.matrix if labels.multi_label else labels.index)
    return model.fit(vectors, target, ids=hashes)


def distill(
    manifest: Manifest,
    out: str | os.PathLike,
    *,
    variant: VariantConfig,
    targets: EmbeddingStore | None = None,
    teacher: Teacher | None = None,
    audio: AudioConfig | None = None,
    validation: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    skip_bad: bool = False,
    cache: str | os.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> Classifier:
    """Train a student on every labelled clip of a manifest and save it.

    An interrupted call goes on from its last checkpoint when repeated; a student
    that stands at `out` and was made from the same is returned.

    Parameters
    ----------
    targets : EmbeddingStore, optional
        Vectors to learn from, needed by every transfer method but ``none``. Compress
        them first for two-stage compression; give raw ones for the joint schedule.
    teacher : Teacher, optional
        Runs at every step; ``clip_teacher`` needs it, and no targets.
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
        Another student stands at `out`.
    AudioError, ManifestError, StoreError, DataError
        Say what to mend.
    """
    check_device(device)
    audio = audio or AudioConfig()
    out = Path(out)
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
    clips, _ = Clips(manifest, audio.sample_rate, audio.seconds).usable(skip_bad)
    hashes = clips.hashes()
    manifest = clips.manifest
    ids = np.array(manifest.ids, dtype=object)
    labels = encode(manifest.labels, check=False)
    vectors = targets.take(manifest.ids, variant.transfer.over_time) if reads else None
    key = fingerprint(
        [
            [manifest.ids, hashes, manifest.labels, manifest.groups.tolist(), validation, seed, device],
            {name: section for name, section in to_dict(variant).items() if name not in ("name", "teacher")},
            asdict(audio),
            targets.settings if reads else teacher.fingerprint() if source == Source.TEACHER else None,
        ]
    )
    checkpoint = out.with_name(f".{out.name}.{key[:16]}.checkpoint.pt")
    if out.exists():
        found = Classifier.load(out)
        if found.about.get("key") == key:
            checkpoint.unlink(missing_ok=True)  # where the call that trained it was killed at its end
            return found
        raise ArtifactError(f"another student stands at {out}; delete it or choose another --out")
    features = compute_features(clips, hashes, audio, cache or out.with_name(f".{out.name}.logmel"))
    fit, held = validation_split(labels.for_splits, manifest.groups, validation, seed)
    if source == Source.NONE:
        fit = fit[labels.labelled[fit]]
    start = None
    if variant.transfer.joint:
        rows_hashes = [hashes[row] for row in fit]
        start = fit_compressor(
            variant.compressor, vectors[fit], labels.select(fit), rows_hashes, seed, start_only=True
        ).to_module()
    in_loop = None
    if source == Source.TEACHER:
        in_loop = embedder(Clips(manifest.select(fit), audio.sample_rate, audio.seconds), teacher)
    # Its name says what it is of: another method must not go on from it.
    classifier, result = teach(
        variant,
        audio,
        Examples(*features.load(ids[fit].tolist()), labels.select(fit)),
        Examples(*features.load(ids[held].tolist()), labels.select(held)),
        vectors[fit] if vectors is not None else None,
        start,
        in_loop,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    classifier.seen = frozenset(hashes[row] for row in (*fit, *held))
    classifier.about = {
        "key": key,
        "method": variant.transfer.method,
        "seed": seed,
        "train_dataset": manifest.name,
        **({"teacher": teacher.name, "dim": teacher.dim} if source == Source.TEACHER else _targets_of(targets)),
    }
    classifier.save(out, {"history.json": result.history})
    checkpoint.unlink(missing_ok=True)
    return classifier


def _targets_of(targets: EmbeddingStore | None) -> dict:
    if targets is None:
        return {}
    source = targets.settings.get("source", targets.settings)
    return {"teacher": source.get("teacher", ""), "compressor": targets.settings.get("method", ""), "dim": targets.dim}
