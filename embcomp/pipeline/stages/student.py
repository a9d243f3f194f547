"""A student trained on a split, and its predictions for every test."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from embcomp.audio.features import feature_settings
from embcomp.compression import Compressor
from embcomp.config import VariantConfig, to_dict
from embcomp.evaluation.scores import scored_predictions
from embcomp.pipeline.stages.base import RunContext, learning_clips
from embcomp.pipeline.stages.embeddings import ready_teacher
from embcomp.pipeline.stages.features import stored_features
from embcomp.pipeline.stages.scoring import Tested, TestedJob, columns, tests_for, tests_to_do
from embcomp.pipeline.workspace import Split
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.students.adapt import reestimate
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits
from embcomp.teachers import embedder
from embcomp.training.distill import teach
from embcomp.training.examples import Examples
from embcomp.transfer import Source

VERSION = 3  # raised when another student comes of the same inputs, or its settings are written otherwise


@dataclass(frozen=True)
class StudentJob(TestedJob):
    """One student.

    Attributes
    ----------
    variant : str
    embedding : str or None
        Path of the embeddings of the data set trained on.
    compressor : str or None
        Path.
    path : str
    """

    variant: str
    embedding: str | None
    compressor: str | None
    path: str

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [self.path, *super().outputs]


def student_key(
    context: RunContext, variant: VariantConfig, split: Split, embedding: Path | None, compressor: Path | None
) -> str:
    """Key of a student."""
    source = context.source
    labels = [source.manifest.labels[row] for row in source.rows(split.fit + split.validation)]
    return fingerprint(
        [
            VERSION,
            source.audio_key,
            feature_settings(context.config.audio),
            split.key,
            fingerprint(labels),
            embedding.name if embedding is not None else None,
            compressor.name if compressor is not None else None,
            to_dict(variant.transfer),
            to_dict(variant.student),
            asdict(variant.training),
            context.config.device,
        ]
    )


def plan_student(
    context: RunContext, variant: VariantConfig, split: Split, embedding: Path | None, compressor: Path | None
) -> Tested:
    """The student of a variant and its tests."""
    key = student_key(context, variant, split, embedding, compressor)
    path = context.space.stage("students", key)
    job = StudentJob(
        **context.job_fields,
        split=split.key,
        tests=tests_for(context, split, key, {"": variant.name}),
        variant=variant.name,
        embedding=str(embedding) if embedding is not None else None,
        compressor=str(compressor) if compressor is not None else None,
        path=str(path),
    )
    return Tested(variant.name, split, columns(context, variant, split), job, path)


def make_student(**fields) -> None:
    """Train the student of a `StudentJob` and write its predictions for every test."""
    job = StudentJob(**fields)
    context, path = job.context(), Path(job.path)
    variant, split = context.variant(job.variant), context.space.load_split(job.split)
    checkpoint = context.space.stage("checkpoints", f"{path.name}.pt")
    if not path.exists():
        _train(context, variant, split, job, checkpoint)
    checkpoint.unlink(missing_ok=True)  # of no more use, also where its writer was killed
    classifier = Classifier.load(path)
    network = classifier.network.to(context.config.device)
    for test, dataset, mapped in tests_to_do(context, job, split):
        features = stored_features(context, dataset, test.shift)
        adapted = network
        if test.setting.endswith("re-estimated"):
            # All clips, even those of labels the student does not know: labels must play no part in it.
            adapted = reestimate(network, *features.load(dataset.manifest.ids), variant.training.batch_size)
        logits = predict_logits(adapted, *features.load(dataset.manifest.select(mapped.kept).ids))
        scored_predictions(dataset.manifest, mapped, classifier.probabilities(logits).numpy()).save(test.path)


def _train(context: RunContext, variant: VariantConfig, split: Split, job: StudentJob, checkpoint: Path) -> None:
    started = time.perf_counter()
    source = context.source
    features = stored_features(context, source)
    labels = split.labels(source, split.fit)
    fit_ids = np.array(split.fit, dtype=object)
    taught_by = variant.transfer.source
    if taught_by == Source.NONE:
        # Without a teacher a clip without a label has nothing to say.
        labels, fit_ids = labels.select(labels.labelled), fit_ids[labels.labelled]
    fit_ids = fit_ids.tolist()
    start = targets = teacher = None
    if taught_by == Source.TEACHER:
        running = ready_teacher(context, source, learning_clips(split), variant.teacher)
        teacher = embedder(context.clips(source, fit_ids), running)
    elif job.embedding is not None:
        targets = EmbeddingStore.open(job.embedding).take(fit_ids, variant.transfer.over_time)
    if job.compressor is not None:
        compressor = Compressor.load(job.compressor)
        if taught_by == Source.TARGET:
            targets = compressor.transform(targets)
        else:
            start = compressor.to_module()
    classifier, result = teach(
        variant,
        context.config.audio,
        Examples(*features.load(fit_ids), labels),
        Examples(*features.load(split.validation), split.labels(source, split.validation)),
        targets,
        start,
        teacher,
        seed=split.seed,
        device=context.config.device,
        checkpoint=checkpoint,
    )
    classifier.seen = frozenset(source.hash_of[clip] for clip in split.fit + split.validation)
    classifier.about = {"variant": variant.name, "fold": split.fold, **columns(context, variant, split)}
    outcome = {
        "best_step": result.best_step,
        "validation_score": result.best_score,
        "seconds": round(time.perf_counter() - started, 2),
    }
    classifier.save(job.path, {"history.json": result.history, "result.json": outcome})
