"""Every data set through a teacher, which is learned first where it learns from the training clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embcomp.config import TeacherConfig, VariantConfig
from embcomp.pipeline.stages.base import Job, RunContext, learning_clips
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.files import fingerprint
from embcomp.teachers import (
    KMeansTeacher,
    StoredTeacher,
    Teacher,
    embed,
    kmeans_settings,
    learned_kmeans,
    parse_spec,
    stored_embeddings,
)

VERSION = 1  # raised when other embeddings come of the same inputs
TEACHER_VERSION = 1


@dataclass(frozen=True)
class EmbeddingsJob(Job):
    """The embeddings of every data set by the teacher of one variant.

    Attributes
    ----------
    split : str
        Key of a split of the fold: the teacher learns from its training clips, without their labels, and sees
        no clip of its test part.
    variant : str
    paths : list of str
        One for each of `datasets`.
    """

    split: str
    variant: str
    paths: list[str]

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return self.paths


def embedding_path(context: RunContext, dataset: Dataset, learned_on: list[str], teacher: TeacherConfig) -> Path:
    """Where the embeddings of `dataset` lie, by a teacher learned on the clips `learned_on` of the set trained on."""
    kind, argument = parse_spec(teacher.spec)
    if kind == "store":
        made_by: list = [StoredTeacher(argument, dataset.manifest).fingerprint()]
    elif argument:
        made_by = [KMeansTeacher.load(argument, teacher.frames).fingerprint(), context.config.audio.seconds]
    else:
        made_by = [teacher_key(context, learned_on, teacher)]
    return context.space.stage("embeddings", fingerprint([VERSION, kind, dataset.audio_key, made_by]))


def teacher_key(context: RunContext, learned_on: list[str], teacher: TeacherConfig) -> str:
    """Key of a k-means teacher learned on the clips `learned_on` of the set trained on."""
    clips = [context.source.hash_of[clip] for clip in learned_on]
    return fingerprint([TEACHER_VERSION, kmeans_settings(teacher), clips, context.config.audio.seconds])


def embeddings_job(context: RunContext, variant: VariantConfig, split: Split) -> EmbeddingsJob:
    """The job that embeds every data set for a variant."""
    learned_on = learning_clips(split)
    paths = [str(embedding_path(context, dataset, learned_on, variant.teacher)) for dataset in context.datasets]
    return EmbeddingsJob(**context.job_fields, split=split.key, variant=variant.name, paths=paths)


def make_embeddings(**fields) -> None:
    """Compute what an `EmbeddingsJob` asks for."""
    job = EmbeddingsJob(**fields)
    context = job.context()
    config = context.variant(job.variant).teacher
    kind, argument = parse_spec(config.spec)
    pairs = list(zip(context.datasets, map(Path, job.paths)))
    if kind == "store":
        for dataset, path in pairs:
            teacher = StoredTeacher(argument, dataset.manifest)
            stored_embeddings(dataset.manifest, list(dataset.hashes), teacher, path)
        return
    running = running_teacher(context, learning_clips(context.space.load_split(job.split)), config)
    for dataset, path in pairs:
        embed(context.clips(dataset), list(dataset.hashes), running, path, reuse=path.parent)


def running_teacher(context: RunContext, learned_on: list[str], teacher: TeacherConfig) -> Teacher:
    """The computing teacher that `teacher` describes, loaded, or learned on clips of the set trained on."""
    _, argument = parse_spec(teacher.spec)
    if argument:
        return KMeansTeacher.load(argument, teacher.frames)
    key = teacher_key(context, learned_on, teacher)
    return learned_kmeans(context.clips(context.source, learned_on), teacher, context.space.stage("teachers", key), key)
