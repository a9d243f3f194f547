"""The work of a run, stage by stage. Each reads and writes the run's folder, and does nothing where its result stands."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from embcomp.classifier import Classifier
from embcomp.clips import Clips
from embcomp.compression import Compressor
from embcomp.config import CompressorConfig, RunConfig, TeacherConfig, VariantConfig, parse
from embcomp.distill import fit_compressor, teach
from embcomp.evaluation import linear_probe, scored_predictions
from embcomp.features import Features, compute_features, feature_settings
from embcomp.files import fingerprint, read_json
from embcomp.labels import MappedLabels, map_labels, read_label_map
from embcomp.pipeline.workspace import Dataset, Split, Workspace
from embcomp.store import EmbeddingStore
from embcomp.teachers import (
    KMeansTeacher,
    StoredTeacher,
    embed,
    kmeans_settings,
    learned_kmeans,
    parse_spec,
    stored_embeddings,
)
from embcomp.training import Examples, predict_logits
from embcomp.transfer import target_kind

# Raised when a stage's result changes for the same inputs.
VERSIONS = {"features": 1, "teacher": 1, "embedding": 1, "compressor": 1, "student": 2, "probe": 1}


def clips_of(dataset: Dataset, config: RunConfig) -> Clips:
    """The audio of a data set, as `config` decodes it."""
    return Clips(dataset.manifest, config.audio.sample_rate, config.audio.seconds)


def features_path(space: Workspace, dataset: Dataset, config: RunConfig) -> Path:
    """Where the log-mels of a data set lie."""
    key = fingerprint([VERSIONS["features"], dataset.audio_key, feature_settings(config.audio)])
    return space.stage("features", key)


def make_features(run: str, dataset: str, config: dict) -> str:
    """Job: compute the log-mels of a data set."""
    space, config = Workspace(run), parse(config)
    found = space.load_dataset(dataset)
    return str(
        compute_features(
            clips_of(found, config), list(found.hashes), config.audio, features_path(space, found, config)
        ).store.path
    )


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
        made_by = [KMeansTeacher.load(argument).fingerprint(), config.audio.seconds]
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
    if argument:
        teacher = KMeansTeacher.load(argument)
    else:
        key = teacher_key(found[0], learned_on, teacher_config, config)
        source = clips_of(found[0], config)
        training = Clips(found[0].manifest.select(found[0].rows(learned_on)), source.sample_rate, source.seconds)
        teacher = learned_kmeans(training, teacher_config, space.stage("teachers", key), key)
    for dataset, path in zip(found, paths):
        embed(clips_of(dataset, config), list(dataset.hashes), teacher, path)
    return [str(path) for path in paths]


def learning_clips(split: Split) -> list[str]:
    """Training clips of a fold, the same for every seed: sorted, so that one teacher serves all."""
    return sorted(split.fit + split.validation)


def compressor_path(
    space: Workspace, embedding: Path, split: Split, compressor: CompressorConfig, start_only: bool
) -> Path:
    """Where a compressor fitted on a split lies; `start_only` is the untrained start of joint training."""
    key = fingerprint(
        [
            VERSIONS["compressor"],
            embedding.name,
            split.fit,
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
    path = compressor_path(space, Path(embedding), part, config, start_only)
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
        and ``predictions`` (paths to write).
    """
    space, config = Workspace(run), parse(config)
    variant = _variant(config, job["variant"])
    split = space.load_split(job["split"])
    datasets = [space.load_dataset(key) for key in job["datasets"]]
    target = Path(job["student"])
    if not target.exists():
        _train_student(space, config, variant, split, datasets[0], job, target)
    classifier = Classifier.load(target)
    for number, path in enumerate(job["predictions"]):
        if path is not None and not Path(path).exists():
            mapped = scored_clips(config, datasets[number], split, abroad=number > 0)
            chosen = datasets[number].manifest.select(mapped.kept)
            loaded = _features(space, datasets[number], config).load(chosen.ids)
            logits = predict_logits(classifier.network.to(config.device), *loaded)
            scored_predictions(datasets[number].manifest, mapped, classifier.probabilities(logits).numpy()).save(path)
    return read_json(target / "result.json")


def _train_student(
    space: Workspace, config: RunConfig, variant: VariantConfig, split: Split, dataset: Dataset, job: dict, target: Path
) -> None:
    started = time.perf_counter()
    features = _features(space, dataset, config)
    labels = split.labels(dataset, split.fit)
    fit_ids = np.array(split.fit, dtype=object)
    if target_kind(variant.transfer) == "none":
        # Without a teacher a clip without a label has nothing to say.
        labels, fit_ids = labels.select(labels.labelled), fit_ids[labels.labelled]
    fit_ids = fit_ids.tolist()
    start = None
    targets = None
    if job["embedding"] is not None:
        targets = EmbeddingStore.open(job["embedding"]).take(fit_ids)
    if job["compressor"] is not None:
        compressor = Compressor.load(job["compressor"])
        if target_kind(variant.transfer) == "compressed":
            targets = compressor.transform(targets)
        else:
            start = compressor.to_module()
    checkpoint = space.stage("checkpoints", f"{target.name}.pt")
    classifier, result = teach(
        variant,
        config.audio,
        Examples(*features.load(fit_ids), labels),
        Examples(*features.load(split.validation), split.labels(dataset, split.validation)),
        dataset.manifest.select(dataset.rows(fit_ids)),
        targets,
        start,
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
    checkpoint.unlink(missing_ok=True)


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


def scored_clips(config: RunConfig, dataset: Dataset, split: Split, abroad: bool) -> MappedLabels:
    """The clips of a data set that a student of `split` is scored on.

    Parameters
    ----------
    abroad : bool
        Whether this is a further data set, all of which is tested and whose
        labels may need a map.
    """
    if abroad:
        mapping = read_label_map(Path(config.data.root, config.data.label_map)) if config.data.label_map else None
        return map_labels(dataset.manifest.labels, split.classes, mapping)
    rows = dataset.rows(split.test)
    labels = [dataset.manifest.labels[row] for row in rows]
    mapped = map_labels(labels, split.classes)
    return MappedLabels(mapped.labels, rows[mapped.kept], mapped.left_out, mapped.not_tested)


def make_probe(run: str, job: dict, config: dict) -> bool:
    """Job: a logistic regression on frozen vectors, scored as the students are.

    Parameters
    ----------
    job : dict
        ``split``, ``datasets`` as for `make_student`; ``embeddings`` (a path for
        each data set), ``compressor`` (path or None), ``predictions`` (paths to write).
    """
    space, config = Workspace(run), parse(config)
    split = space.load_split(job["split"])
    datasets = [space.load_dataset(key) for key in job["datasets"]]
    stores = [EmbeddingStore.open(path) for path in job["embeddings"]]
    compress = Compressor.load(job["compressor"]).transform if job["compressor"] is not None else np.asarray
    labels = split.labels(datasets[0], split.fit)
    known = labels.labelled
    fit_ids = np.array(split.fit, dtype=object)[known].tolist()
    predict = linear_probe(compress(stores[0].take(fit_ids)), labels.index[known], len(split.classes))
    for number, path in enumerate(job["predictions"]):
        if path is not None and not Path(path).exists():
            mapped = scored_clips(config, datasets[number], split, abroad=number > 0)
            chosen = datasets[number].manifest.select(mapped.kept)
            scored_predictions(
                datasets[number].manifest, mapped, predict(compress(stores[number].take(chosen.ids)))
            ).save(path)
    return True


def _features(space: Workspace, dataset: Dataset, config: RunConfig) -> Features:
    return Features(EmbeddingStore.open(features_path(space, dataset, config)), config.audio.n_mels)


def _variant(config: RunConfig, name: str) -> VariantConfig:
    return next(variant for variant in config.variants if variant.name == name)
