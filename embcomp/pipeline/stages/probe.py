"""Jobs for probes: simple classifiers on what teachers, compressors and students make of a clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embcomp.compression import Compressor
from embcomp.config import RunConfig, parse
from embcomp.evaluation.probes import EmbeddingOf, Predict, fit_probe, frame_statistics
from embcomp.evaluation.scores import scored_predictions
from embcomp.pipeline.stages import stored_features, tests_to_do
from embcomp.pipeline.workspace import Dataset, Workspace
from embcomp.storage.store import EmbeddingStore
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits


def make_probe(run: str, job: dict, config: dict) -> bool:
    """Job: probes on frozen vectors, scored as the students are.

    Parameters
    ----------
    job : dict
        ``split``, ``datasets`` and ``tests`` as for `make_student`, and what the vectors are: ``embeddings`` (a path
        for each data set) with ``compressor`` (path or None); or ``student`` (path); or, with neither, statistics
        of the log-mels.
    """
    space, config = Workspace(run), parse(config)
    split = space.load_split(job["split"])
    datasets = [space.load_dataset(key) for key in job["datasets"]]
    vectors_of = _vectors(space, config, job, datasets)
    fitted: dict[str, Predict] = {}
    at_home, labels = vectors_of(0, "", split.fit), split.labels(datasets[0], split.fit)
    for test, dataset, mapped in tests_to_do(config, job, datasets, split):
        kind = test["probe"]
        if kind not in fitted:
            fitted[kind] = fit_probe(kind, at_home, labels)
        vectors = vectors_of(test["dataset"], test["shift"], dataset.manifest.ids)
        everything = vectors if test["setting"].endswith("re-estimated") else None
        chances = fitted[kind](vectors[mapped.kept], everything)
        scored_predictions(dataset.manifest, mapped, chances).save(test["path"])
    return True


def _vectors(
    space: Workspace, config: RunConfig, job: dict, datasets: list[Dataset]
) -> Callable[[int, str, list[str]], np.ndarray]:
    """What a probe looks at: a data set's number, a shift and clip ids to vectors (n, dim)."""
    if "embeddings" in job:
        stores = [EmbeddingStore.open(path) for path in job["embeddings"]]
        compress = Compressor.load(job["compressor"]).transform if job["compressor"] is not None else np.asarray
        return lambda number, shift, ids: compress(stores[number].take(ids))
    network = EmbeddingOf(Classifier.load(job["student"]).network.to(config.device)) if "student" in job else None

    def from_features(number: int, shift: str, ids: list[str]) -> np.ndarray:
        features, lengths = stored_features(space, datasets[number], config, shift).load(ids)
        if network is None:
            return frame_statistics(features, lengths)
        return predict_logits(network, features, lengths).numpy()

    # One test set is looked at by every probe and in both settings.
    last: dict[tuple, np.ndarray] = {}

    def remembered(number: int, shift: str, ids: list[str]) -> np.ndarray:
        key = (number, shift, tuple(ids))
        if key not in last:
            last.clear()
            last[key] = from_features(number, shift, ids)
        return last[key]

    return remembered
