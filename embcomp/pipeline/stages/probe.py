"""Probes: simple classifiers on what teachers, compressors and students make of a clip, and on what students get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.compression import Compressor
from embcomp.config import VariantConfig
from embcomp.evaluation.probes import EmbeddingOf, Predict, fit_probe, frame_statistics
from embcomp.evaluation.scores import scored_predictions
from embcomp.evaluation.table import Setting, Vectors
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.features import inputs_version, stored_features
from embcomp.pipeline.stages.pools import Learner, learned_from_tested
from embcomp.pipeline.stages.scoring import TRANSDUCTIVE, Tested, TestedJob, columns, tests_for, tests_to_do
from embcomp.pipeline.workspace import Split
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits

VERSION = 2  # raised when another probe comes of the same inputs
# What students get, and how a table of scores calls it.
FLOORS = {
    "audio": ("log-mel", Vectors.LOG_MEL),
    "table": ("columns", Vectors.INPUT),
    "images": ("pixels", Vectors.INPUT),
}


@dataclass(frozen=True)
class ProbeJob(TestedJob):
    """Probes on one kind of vector; without any of the three below, on what students get: statistics of the log-mels,
    columns or pixels.

    Attributes
    ----------
    embeddings : list of str
        Paths of a teacher's embeddings, one for each of `datasets`; empty for other vectors.
    compressor : str or None
        Path of what compresses them.
    student : str or None
        Path of the student whose embeddings they are fitted on.
    """

    embeddings: list[str]
    compressor: str | None
    student: str | None


def plan_embedding_probe(
    context: RunContext,
    variant: VariantConfig,
    split: Split,
    embeddings: list[Path],
    compressor: Path | None,
    name: str = "",
    note: str = "",
) -> Tested:
    """Probes on a teacher's embeddings, or on what a compressor left of them.

    Where there are no students `name` is that of the variant, and the linear probe takes it unchanged. A `note` ends
    the names of vectors that others would share.
    """
    about = columns(context, variant, split)
    kinds = {"probe": name, "k-NN": f"k-NN: {name}"} if name else {}
    name = name or vectors_name(variant, compressor is not None) + note
    if compressor is None:
        about |= {"compressor": "", "dim": ""}
    learners = [Learner.TEACHER] + [Learner.COMPRESSOR] * (compressor is not None)
    how = learned_from_tested(context, variant, split, *learners)
    name += f", {TRANSDUCTIVE[how]}" if how else ""
    made_of = [[path.name for path in embeddings], compressor.name if compressor is not None else None]
    key = fingerprint([VERSION, split.key, *made_of, _fit_labels(context, split)])
    # A teacher's vectors of changed clips would have to be computed anew.
    vectors = Vectors.EMBEDDING if compressor is None else Vectors.TARGET
    tests = tests_for(context, split, key, kinds or _names(name), vectors, changed_clips=False, how=how)
    return _plan(context, split, name, about, tests, embeddings, compressor)


def vectors_name(variant: VariantConfig, compressed: bool) -> str:
    """What tables call the embeddings of a variant's teacher, or what its compressor leaves of them."""
    used = variant.compressor
    return variant.teacher.title + (f" > {used.method}/{used.objective} {used.dim}" if compressed else "")


def plan_student_probe(context: RunContext, student: Tested) -> Tested:
    """Probes on what a student has learned."""
    key = fingerprint([VERSION, "student", student.student.name])
    name = f"student of {student.variant}"
    variant = context.variant(student.variant)
    how = learned_from_tested(context, variant, student.split, Learner.STUDENT)
    tests = tests_for(context, student.split, key, _names(name), Vectors.STUDENT, how=how)
    return _plan(context, student.split, name, student.about, tests, student=student.student)


def plan_floor(context: RunContext, split: Split) -> Tested:
    """What every score must beat: probes on what students get, and the most frequent class."""
    source = context.source
    about = columns(context, context.config.variants[0], split) | {"teacher": "", "compressor": "", "dim": ""}
    if not context.has_students:
        key = fingerprint([VERSION, "majority", context.source.key, split.key])
        tests = tests_for(context, split, key, {"majority": "majority class"})
        return _plan(context, split, "majority class", about, tests)
    name, vectors = FLOORS[context.config.data.inputs]
    settings = [source.audio_key, context.input_settings, split.key, _fit_labels(context, split), *inputs_version()]
    key = fingerprint([VERSION, name, settings])
    tests = tests_for(context, split, key, _names(name) | {"majority": "majority class"}, vectors)
    return _plan(context, split, name, about, tests)


def _fit_labels(context: RunContext, split: Split) -> str:
    """Key of the labels that a probe is fitted on."""
    source = context.source
    return fingerprint([source.manifest.labels[row] for row in source.rows(split.fit)])


def _names(vectors: str) -> dict[str, str]:
    return {kind: f"{kind}: {vectors}" for kind in ("probe", "k-NN")}


def _plan(
    context: RunContext,
    split: Split,
    name: str,
    about: dict,
    tests: list,
    embeddings: list[Path] | None = None,
    compressor: Path | None = None,
    student: Path | None = None,
) -> Tested:
    job = ProbeJob(
        **context.job_fields,
        split=split.key,
        tests=tests,
        embeddings=[str(path) for path in embeddings or ()],
        compressor=str(compressor) if compressor is not None else None,
        student=str(student) if student is not None else None,
    )
    return Tested(name, split, about | {"method": "probe"}, job)


def make_probe(**fields) -> None:
    """Fit the probes of a `ProbeJob` and write their predictions for every test."""
    job = ProbeJob(**fields)
    context = job.context()
    split = context.space.load_split(job.split)
    # The most frequent class is the same whatever is looked at.
    nothing = not job.embeddings and not context.has_students
    vectors_of = (lambda number, shift, ids: np.zeros((len(ids), 1))) if nothing else _vectors(context, job)
    fitted: dict[str, Predict] = {}
    learned_on, labels = vectors_of(0, "", split.fit), split.labels(context.source, split.fit)
    for test, dataset, mapped in tests_to_do(context, job, split):
        if test.probe not in fitted:
            fitted[test.probe] = fit_probe(test.probe, learned_on, labels)
        vectors = vectors_of(test.dataset, test.shift, dataset.manifest.ids)
        everything = vectors if test.setting == Setting.ADAPTED else None
        probabilities = fitted[test.probe](vectors[mapped.kept], everything)
        scored_predictions(dataset.manifest, mapped, probabilities).save(test.path)


def _vectors(context: RunContext, job: ProbeJob) -> Callable[[int, str, list[str]], np.ndarray]:
    """From a data set's number, a shift and clip ids to the vectors (n, dim) of a probe."""
    if job.embeddings:
        stores = [EmbeddingStore.open(path) for path in job.embeddings]
        compress = Compressor.load(job.compressor).transform if job.compressor is not None else np.asarray
        return lambda number, shift, ids: compress(stores[number].take(ids))
    network = None
    if job.student is not None:
        network = EmbeddingOf(Classifier.load(job.student).network.to(context.config.device))

    def from_features(number: int, shift: str, ids: list[str]) -> np.ndarray:
        features, lengths = stored_features(context, context.datasets[number], shift).load(ids)
        if network is None:
            audio = context.config.data.inputs == "audio"
            return frame_statistics(features, lengths) if audio else features.flatten(1).numpy()
        return predict_logits(network, features, lengths).numpy()

    # Every probe and both settings ask for the vectors of the same test set.
    last: dict[tuple, np.ndarray] = {}

    def remembered(number: int, shift: str, ids: list[str]) -> np.ndarray:
        key = (number, shift, tuple(ids))
        if key not in last:
            last.clear()
            last[key] = from_features(number, shift, ids)
        return last[key]

    return remembered
