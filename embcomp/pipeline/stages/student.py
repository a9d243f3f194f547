"""A student trained on a split, and its predictions for every test."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from embcomp.compression import Compressor
from embcomp.config import VariantConfig, to_dict
from embcomp.config.several import JOIN
from embcomp.distributed import current, joined
from embcomp.engines.local import set_threads
from embcomp.engines.together import run_together
from embcomp.evaluation.scores import scored_predictions
from embcomp.evaluation.table import Setting
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.embeddings import ready_teacher
from embcomp.pipeline.stages.features import inputs_version, precision, stored_features
from embcomp.pipeline.stages.pools import Learner, adapted_sets, adapts, learned_from_tested, pools_for
from embcomp.pipeline.stages.scoring import Tested, TestedJob, columns, tests_for, tests_to_do
from embcomp.pipeline.stages.views import ViewedSet, viewed_part, views_key
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.files import fingerprint
from embcomp.storage.publishing import withdraw
from embcomp.storage.store import EmbeddingStore
from embcomp.students.adapt import reestimate
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits
from embcomp.teachers import JoinedTeacher, embedder
from embcomp.training.assembly import Lesson, Part, train_student, used
from embcomp.training.parallel import shared_teacher
from embcomp.transfer import Source

VERSION = 5  # raised when another student comes of the same inputs, or its settings are written otherwise


@dataclass(frozen=True)
class StudentJob(TestedJob):
    """One student.

    Attributes
    ----------
    variant : str
    embedding : str or None
        Path of the embeddings of the data set trained on.
    pool_embeddings : list of str
        Paths of the embeddings of the unlabelled sets; empty where the method learns from none.
    compressor : str or None
        Path.
    path : str
    joined : str or None
        Path of the teacher, where it joins several.
    views : list of ViewedSet
        Of the clips that are learned from, without those of validation.
    """

    variant: str
    embedding: str | None
    pool_embeddings: list[str]
    compressor: str | None
    path: str
    joined: str | None = None
    views: list[ViewedSet] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        views = [one if isinstance(one, ViewedSet) else ViewedSet(**one) for one in self.views]
        object.__setattr__(self, "views", views)

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [self.path, *super().outputs]


def student_key(
    context: RunContext, variant: VariantConfig, split: Split, embeddings: Sequence[Path], compressor: Path | None
) -> str:
    """Key of a student."""
    source = context.source
    labels = [source.manifest.labels[row] for row in source.rows(split.fit + split.validation)]
    return fingerprint(
        [
            VERSION,
            source.audio_key,
            context.input_settings,
            split.key,
            fingerprint(labels),
            embeddings[0].name if embeddings else None,
            # Of a stored teacher the embeddings of one pool say nothing of its clips' audio.
            [
                [pool.key(embeddings), pool.dataset.audio_key, *precision(context, pool.dataset)]
                for pool in pools_for(context, variant, Learner.STUDENT, split)
            ],
            compressor.name if compressor is not None else None,
            to_dict(variant.transfer),
            to_dict(variant.student),
            variant.training.key(),
            context.config.device,
            *inputs_version(),
            *views_key(variant),
        ]
    )


def plan_student(
    context: RunContext,
    variant: VariantConfig,
    split: Split,
    embeddings: Sequence[Path],
    compressor: Path | None,
    joined: str | None = None,
    views: Sequence[ViewedSet] = (),
) -> Tested:
    """The student of a variant and its tests; `embeddings` of all data sets and pools, none without a teacher."""
    key = student_key(context, variant, split, embeddings, compressor)
    path = context.space.stage("students", key)
    job = StudentJob(
        **context.job_fields,
        split=split.key,
        tests=tests_for(
            context, split, key, {"": variant.name}, how=learned_from_tested(context, variant, split, Learner.STUDENT)
        ),
        variant=variant.name,
        embedding=str(embeddings[0]) if embeddings else None,
        pool_embeddings=[str(embeddings[pool.number]) for pool in pools_for(context, variant, Learner.STUDENT, split)],
        compressor=str(compressor) if compressor is not None else None,
        path=str(path),
        joined=joined,
        views=list(views),
    )
    return Tested(variant.name, split, columns(context, variant, split), job, path)


def make_student(**fields) -> None:
    """Train the student of a `StudentJob` and write its predictions for every test."""
    job = StudentJob(**fields)
    context, path = job.context(), Path(job.path)
    variant, split = context.variant(job.variant), context.space.load_split(job.split)
    checkpoint = context.space.stage("checkpoints", f"{path.name}.pt")
    if not path.exists():
        if variant.training.processes > 1:
            run_together(train_together, asdict(job) | {"threads": context.config.threads}, variant.training.processes)
        else:
            train_job(context, job, checkpoint)
    withdraw(checkpoint)  # of no more use, also where its writer was killed
    classifier = Classifier.load(path)
    network = classifier.network.to(context.config.device)
    for test, dataset, mapped in tests_to_do(context, job, split):
        features = stored_features(context, dataset, test.shift)
        adapted = network
        if test.setting == Setting.ADAPTED:
            # All clips, even those of labels the student does not know: labels must play no part in it.
            adapted = reestimate(network, *features.load(dataset.manifest.ids), variant.training.batch_size)
        logits = predict_logits(adapted, *features.load(dataset.manifest.select(mapped.kept).ids))
        scored_predictions(dataset.manifest, mapped, classifier.probabilities(logits).numpy()).save(test.path)


def train_together(threads: int, **fields) -> None:
    """Train the student of a `StudentJob` as one of several processes."""
    set_threads(threads)
    job = StudentJob(**fields)
    context = job.context()
    with joined(context.config.device):
        train_job(context, job, context.space.stage("checkpoints", f"{Path(job.path).name}.pt"))


def train_job(
    context: RunContext, job: StudentJob, checkpoint: Path, progress: Callable[[int], None] | None = None
) -> None:
    """Train the student of a `StudentJob` and save it.

    Parameters
    ----------
    progress : callable, optional
        See `embcomp.training.loop.train`.
    """
    variant, split = context.variant(job.variant), context.space.load_split(job.split)
    source, config = context.source, context.config
    fit, validation = (_part(context, source, ids, job.embedding) for ids in (split.fit, split.validation))
    fit, validation = (replace(part, labels=split.labels(source, list(part.ids))) for part in (fit, validation))
    unlabelled = zip(pools_for(context, variant, Learner.STUDENT, split), job.pool_embeddings)
    pools = [_part(context, pool.dataset, pool.ids, path) for pool, path in unlabelled]
    pool_of = {pool.number: part for pool, part in zip(pools_for(context, variant, Learner.STUDENT, split), pools)}
    views = [viewed_part(context, one, fit) for one in job.views if not one.number]
    pool_views = [viewed_part(context, one, pool_of[one.number]) for one in job.views if one.number]
    teacher = None
    if variant.transfer.source == Source.TEACHER:
        if job.joined is not None:
            own = variant.teacher.argument.split(JOIN)
            running = JoinedTeacher.load(job.joined, source.whole or source.manifest, own=own)
        else:
            running = ready_teacher(context, source, split, variant)
        clips = context.clips(source, list(used(variant, fit).ids))
        teacher = shared_teacher(embedder(clips, running), current())
    compressor = Compressor.load(job.compressor) if job.compressor is not None else None
    train_student(
        variant,
        config.audio,
        Lesson(fit, validation, [*pools, *pool_views], compressor, teacher, views),
        job.path,
        about={
            "variant": variant.name,
            "fold": split.fold,
            **columns(context, variant, split),
            **_transductive(context, variant, split),
        },
        seed=split.seed,
        device=config.device,
        checkpoint=checkpoint,
        progress=progress,
        timed=True,
        tracking=context.space.folder / "tracking" / _readable(variant.name, split, Path(job.path).name),
    )


def _readable(name: str, split: Split, key: str) -> str:
    """Name of a folder that tells people which student it is of."""
    return re.sub(r"[^\w.-]+", "-", f"{name}-fold-{split.fold}-seed-{split.seed}-{key[:6]}")


def _part(context: RunContext, dataset: Dataset, ids: list[str], embedding: str | None) -> Part:
    embeddings = EmbeddingStore.open(embedding) if embedding is not None else None
    return Part(ids, [dataset.hash_of[clip] for clip in ids], stored_features(context, dataset), embeddings)


def _transductive(context: RunContext, variant: VariantConfig, split: Split) -> dict[str, str]:
    """What a student keeps of the tested sets that it learned from; nothing where there is none."""
    names = [context.datasets[number].manifest.name for number in adapted_sets(context, split)]
    return {"transductive": f"{adapts(variant)} of {', '.join(names)}"} if adapts(variant) and names else {}
