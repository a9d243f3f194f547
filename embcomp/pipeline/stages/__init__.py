"""The work of a run, stage by stage. Each reads and writes the run's folder, and does nothing where its result stands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.audio.features import Features, compute_features, feature_settings
from embcomp.audio.shifts import Shift, ShiftedClips, parse_shift
from embcomp.compression import Compressor
from embcomp.config import CompressorConfig, RunConfig, TeacherConfig, VariantConfig, parse
from embcomp.data.labels import MappedLabels, find_label_map, map_labels, read_label_map
from embcomp.evaluation.scores import scored_predictions
from embcomp.pipeline.workspace import Dataset, Split, Workspace
from embcomp.storage.files import fingerprint, read_json
from embcomp.storage.store import EmbeddingStore
from embcomp.students.adapt import reestimate
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits
from embcomp.teachers import (
    KMeansTeacher,
    StoredTeacher,
    Teacher,
    embed,
    embedder,
    kmeans_settings,
    learned_kmeans,
    parse_spec,
    stored_embeddings,
)
from embcomp.training.distill import fit_compressor, teach
from embcomp.training.loop import Examples
from embcomp.transfer import compares_over_time, target_kind

# Raised when a stage's result changes for the same inputs.
VERSIONS = {
    "features": 1,
    "teacher": 1,
    "embedding": 1,
    "compressor": 1,
    "student": 2,
    "probe": 2,
    "reestimate": 1,
    "shift": 1,
}


def clips_of(dataset: Dataset, config: RunConfig, ids: list[str] | None = None) -> Clips:
    """The audio of a data set, or of its clips `ids`, as `config` decodes it."""
    manifest = dataset.manifest if ids is None else dataset.manifest.select(dataset.rows(ids))
    return Clips(manifest, config.audio.sample_rate, config.audio.seconds)


def shifts(config: RunConfig) -> dict[str, Shift]:
    """The changes of test clips that a run asks for, by how they are written; each once."""
    found = {text: parse_shift(text, config.audio) for text in config.evaluation.shifts}
    return {text: shift for shift, text in {shift: text for text, shift in found.items()}.items()}


def features_path(space: Workspace, dataset: Dataset, config: RunConfig, shift: str = "") -> Path:
    """Where the log-mels of a data set lie, or those of its clips changed by `shift`."""
    settings = [VERSIONS["features"], dataset.audio_key, feature_settings(config.audio)]
    if not shift:
        return space.stage("features", fingerprint(settings))
    # In a folder of their own: among the others they would pass for log-mels of the same clips.
    changed = [VERSIONS["shift"], asdict(parse_shift(shift, config.audio)), config.evaluation.seed]
    return space.stage("shifted", fingerprint([settings, changed]))


def make_features(run: str, dataset: str, config: dict, shift: str = "") -> str:
    """Job: compute the log-mels of a data set, or of its clips changed by `shift`."""
    space, config = Workspace(run), parse(config)
    found = space.load_dataset(dataset)
    path, clips = features_path(space, found, config, shift), clips_of(found, config)
    if shift:
        changed, seed = parse_shift(shift, config.audio), config.evaluation.seed
        clips = ShiftedClips(clips.manifest, clips.sample_rate, clips.seconds, changed, seed)
        return str(compute_features(clips, list(found.hashes), config.audio, path).store.path)
    return str(compute_features(clips, list(found.hashes), config.audio, path, reuse=path.parent).store.path)


def embedding_path(
    space: Workspace,
    dataset: Dataset,
    source: Dataset,
    learned_on: list[str],
    teacher: TeacherConfig,
    config: RunConfig,
) -> Path:
    """Where the embeddings of `dataset` lie, by a teacher learned on the clips `learned_on` of `source`."""
    kind, argument = parse_spec(teacher.spec)
    if kind == "store":
        made_by: list = [StoredTeacher(argument, dataset.manifest).fingerprint()]
    elif argument:
        made_by = [KMeansTeacher.load(argument, teacher.frames).fingerprint(), config.audio.seconds]
    else:
        made_by = [teacher_key(source, learned_on, teacher, config)]
    return space.stage("embeddings", fingerprint([VERSIONS["embedding"], kind, dataset.audio_key, made_by]))


def teacher_key(source: Dataset, learned_on: list[str], teacher: TeacherConfig, config: RunConfig) -> str:
    """Key of a k-means teacher learned on the clips `learned_on` of `source`."""
    clips = [source.hash_of[clip] for clip in learned_on]
    return fingerprint([VERSIONS["teacher"], kmeans_settings(teacher), clips, config.audio.seconds])


def make_embeddings(run: str, datasets: list[str], split: str, variant: dict, config: dict) -> list[str]:
    """Job: embed every data set with the teacher of a variant, learned on the training clips of a fold.

    The first of `datasets` is the one trained on. The teacher sees no clip of the
    fold's test part and no label.
    """
    space, config = Workspace(run), parse(config)
    found = [space.load_dataset(key) for key in datasets]
    teacher_config = _variant(config, variant).teacher
    kind, argument = parse_spec(teacher_config.spec)
    fold = space.load_split(split)
    learned_on = learning_clips(fold)
    paths = [embedding_path(space, dataset, found[0], learned_on, teacher_config, config) for dataset in found]
    if kind == "store":
        stores = [
            stored_embeddings(dataset.manifest, list(dataset.hashes), StoredTeacher(argument, dataset.manifest), path)
            for dataset, path in zip(found, paths)
        ]
        return [str(store.path) for store in stores]
    teacher = running_teacher(space, found[0], learned_on, teacher_config, config)
    for dataset, path in zip(found, paths):
        embed(clips_of(dataset, config), list(dataset.hashes), teacher, path, reuse=path.parent)
    return [str(path) for path in paths]


def running_teacher(
    space: Workspace, source: Dataset, learned_on: list[str], teacher: TeacherConfig, config: RunConfig
) -> Teacher:
    """The computing teacher that `teacher` describes, loaded, or learned on the clips `learned_on` of `source`."""
    _, argument = parse_spec(teacher.spec)
    if argument:
        return KMeansTeacher.load(argument, teacher.frames)
    key = teacher_key(source, learned_on, teacher, config)
    return learned_kmeans(clips_of(source, config, learned_on), teacher, space.stage("teachers", key), key)


def learning_clips(split: Split) -> list[str]:
    """Training clips of a fold, the same for every seed: sorted, so that one teacher serves all."""
    return sorted(split.fit + split.validation)


def compressor_path(
    space: Workspace, dataset: Dataset, embedding: Path, split: Split, compressor: CompressorConfig, start_only: bool
) -> Path:
    """Where a compressor fitted on a split lies; `start_only` is the untrained start of joint training."""
    key = fingerprint(
        [
            VERSIONS["compressor"],
            embedding.name,
            split.fit,
            fingerprint([dataset.manifest.labels[row] for row in dataset.rows(split.fit)]),
            split.hidden,
            split.classes,
            split.seed,
            asdict(compressor),
            start_only,
        ]
    )
    return space.stage("compressors", key)


def make_compressor(run: str, embedding: str, dataset: str, split: str, compressor: dict, start_only: bool) -> str:
    """Job: fit a compressor on the fit rows of a split."""
    space, config = Workspace(run), CompressorConfig(**compressor)
    found, part = space.load_dataset(dataset), space.load_split(split)
    path = compressor_path(space, found, Path(embedding), part, config, start_only)
    if not path.exists():
        vectors = EmbeddingStore.open(embedding).take(part.fit)
        labels = part.labels(found, part.fit)
        fit_compressor(config, vectors, labels, [found.hash_of[clip] for clip in part.fit], part.seed, start_only).save(
            path
        )
    return str(path)


def make_student(run: str, job: dict, config: dict) -> dict:
    """Job: train one student and write its predictions for every test set.

    Parameters
    ----------
    job : dict
        ``variant`` (name), ``split`` (key), ``datasets`` (keys; the first is
        trained on), ``embedding`` and ``compressor`` (paths, or None), ``student``
        (path to write) and ``tests`` (see `embcomp.pipeline.plan.Test`).
    """
    space, config = Workspace(run), parse(config)
    variant = _variant(config, job["variant"])
    split = space.load_split(job["split"])
    datasets = [space.load_dataset(key) for key in job["datasets"]]
    target = Path(job["student"])
    if not target.exists():
        _train_student(space, config, variant, split, datasets[0], job, target)
    _checkpoint(space, target).unlink(missing_ok=True)  # of no more use, also where its writer was killed
    classifier = Classifier.load(target)
    network = classifier.network.to(config.device)
    for test, dataset, mapped in tests_to_do(config, job, datasets, split):
        features = stored_features(space, dataset, config, test["shift"])
        adapted = network
        if test["setting"].endswith("re-estimated"):
            # All clips, even those of labels the student does not know: labels must play no part in it.
            adapted = reestimate(network, *features.load(dataset.manifest.ids), variant.training.batch_size)
        logits = predict_logits(adapted, *features.load(dataset.manifest.select(mapped.kept).ids))
        scored_predictions(dataset.manifest, mapped, classifier.probabilities(logits).numpy()).save(test["path"])
    return read_json(target / "result.json")


def tests_to_do(
    config: RunConfig, job: dict, datasets: list[Dataset], split: Split
) -> Iterator[tuple[dict, Dataset, MappedLabels]]:
    """Tests of a job whose predictions are not there, with the data set and its clips that are scored."""
    for test in job["tests"]:
        if not Path(test["path"]).exists():
            dataset = datasets[test["dataset"]]
            yield test, dataset, scored_clips(config, dataset, split, abroad=test["dataset"] > 0)


def _train_student(
    space: Workspace, config: RunConfig, variant: VariantConfig, split: Split, dataset: Dataset, job: dict, target: Path
) -> None:
    started = time.perf_counter()
    features = stored_features(space, dataset, config)
    labels = split.labels(dataset, split.fit)
    fit_ids = np.array(split.fit, dtype=object)
    if target_kind(variant.transfer) == "none":
        # Without a teacher a clip without a label has nothing to say.
        labels, fit_ids = labels.select(labels.labelled), fit_ids[labels.labelled]
    fit_ids = fit_ids.tolist()
    start = targets = teacher = None
    if target_kind(variant.transfer) == "teacher":
        source = running_teacher(space, dataset, learning_clips(split), variant.teacher, config)
        teacher = embedder(clips_of(dataset, config, fit_ids), source)
    elif job["embedding"] is not None:
        targets = EmbeddingStore.open(job["embedding"]).take(fit_ids, compares_over_time(variant.transfer))
    if job["compressor"] is not None:
        compressor = Compressor.load(job["compressor"])
        if target_kind(variant.transfer) == "compressed":
            targets = compressor.transform(targets)
        else:
            start = compressor.to_module()
    checkpoint = _checkpoint(space, target)
    classifier, result = teach(
        variant,
        config.audio,
        Examples(*features.load(fit_ids), labels),
        Examples(*features.load(split.validation), split.labels(dataset, split.validation)),
        dataset.manifest.select(dataset.rows(fit_ids)),
        targets,
        start,
        teacher,
        seed=split.seed,
        device=config.device,
        checkpoint=checkpoint,
    )
    classifier.seen = frozenset(dataset.hash_of[clip] for clip in split.fit + split.validation)
    classifier.about = {"variant": variant.name, "fold": split.fold, **about(variant, dataset, split)}
    outcome = {
        "best_step": result.best_step,
        "validation_score": result.best_score,
        "seconds": round(time.perf_counter() - started, 2),
    }
    classifier.save(target, {"history.json": result.history, "result.json": outcome})


def _checkpoint(space: Workspace, target: Path) -> Path:
    return space.stage("checkpoints", f"{target.name}.pt")


def about(variant: VariantConfig, dataset: Dataset, split: Split) -> dict:
    """The columns of scores.csv that say how a student was made."""
    kind = target_kind(variant.transfer)
    compressed = variant.transfer.method == "compressed"
    return {
        "method": variant.transfer.method,
        "teacher": "" if kind == "none" else variant.teacher.spec,
        "compressor": f"{variant.compressor.method}/{variant.compressor.objective}" if compressed else "",
        "dim": variant.compressor.dim if compressed else "",
        "seed": split.seed,
        "train_dataset": dataset.manifest.name,
    }


def label_map(config: RunConfig) -> dict[str, str]:
    """From the labels of the further sets to those of the first."""
    name = config.data.label_map
    return read_label_map(find_label_map(name, config.data.root)) if name else {}


def scored_clips(config: RunConfig, dataset: Dataset, split: Split, abroad: bool) -> MappedLabels:
    """The clips of a data set that a student of `split` is scored on.

    Parameters
    ----------
    abroad : bool
        Whether this is a further data set, all of which is tested and whose
        labels may need a map.
    """
    if abroad:
        return map_labels(dataset.manifest.labels, split.classes, label_map(config), split.multi_label)
    rows = dataset.rows(split.test)
    labels = [dataset.manifest.labels[row] for row in rows]
    mapped = map_labels(labels, split.classes, multi_label=split.multi_label)
    return MappedLabels(mapped.labels, rows[mapped.kept], mapped.left_out, mapped.not_tested)


def stored_features(space: Workspace, dataset: Dataset, config: RunConfig, shift: str = "") -> Features:
    """Log-mels that `make_features` wrote."""
    return Features(EmbeddingStore.open(features_path(space, dataset, config, shift)), config.audio.n_mels)


def _variant(config: RunConfig, name: str) -> VariantConfig:
    return next(variant for variant in config.variants if variant.name == name)
