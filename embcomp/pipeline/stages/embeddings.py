"""Every data set through a teacher, which is learned first where it learns from the training clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embcomp.audio.features import Features
from embcomp.config import VariantConfig
from embcomp.pipeline.stages.base import Job, RunContext, learning_clips
from embcomp.pipeline.stages.features import features_path, stored_features
from embcomp.pipeline.stages.pools import Learner, pools_for
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.files import fingerprint
from embcomp.teachers import Teacher, embed, learned_teacher, open_teacher
from embcomp.teachers.spread import Spread, on_cpu

VERSION = 1  # raised when other embeddings come of the same inputs
TEACHER_VERSION = 1


@dataclass(frozen=True)
class EmbeddingsJob(Job):
    """The embeddings of every data set by the teacher of one variant.

    Attributes
    ----------
    split : str
        Key of a split of the fold: the teacher learns from its training clips, without their labels, and from the
        unlabelled sets, and sees no clip of its test part.
    variant : str
    paths : list of str
        One for each of `datasets`, then one for each of `pools`.
    member : int
        Which of the teachers that the variant's joins; -1 is the variant's own.
    """

    split: str
    variant: str
    paths: list[str]
    member: int = -1

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return self.paths


def embedding_path(context: RunContext, dataset: Dataset, variant: VariantConfig, learned: str) -> Path:
    """Where the embeddings of `dataset` lie; `learned` is the key of the variant's teacher where it is learned."""
    teacher = variant.teacher
    if teacher.learns:
        made_by: list = [learned]
    else:
        known = on_cpu(teacher) if context.config.engine == "ray" else teacher
        made_by = [open_teacher(known, dataset.whole or dataset.manifest).fingerprint()]
        if teacher.choice.runs:
            made_by += _audio_settings(context)
    return context.space.stage("embeddings", fingerprint([VERSION, teacher.choice.name, dataset.audio_key, made_by]))


def teacher_key(context: RunContext, variant: VariantConfig, split: Split) -> str:
    """Key of a teacher learned on the training clips of a fold, and on the unlabelled clips; empty of one that is not."""
    if not variant.teacher.learns:
        return ""
    clips = [context.source.hash_of[clip] for clip in learning_clips(split)]
    clips += [one for pool in pools_for(context, variant, Learner.TEACHER, split) for one in pool.hashes]
    learned = [variant.teacher.options(), clips, *variant.teacher.learned_as(len(clips))]
    return fingerprint([TEACHER_VERSION, *learned, *_audio_settings(context)])


def _audio_settings(context: RunContext) -> list:
    """What an embedding depends on, beside a clip and its teacher."""
    audio = context.config.audio
    return [audio.seconds] + ([audio.channel] if audio.channel != "mix" else [])


def embeddings_job(context: RunContext, variant: VariantConfig, split: Split, member: int = -1) -> EmbeddingsJob:
    """The job that embeds every data set for a variant, or by one of the teachers that the variant's joins."""
    name, variant = variant.name, with_member(variant, member)
    learned = teacher_key(context, variant, split)
    paths = [str(embedding_path(context, dataset, variant, learned)) for dataset in context.sets]
    return EmbeddingsJob(**context.job_fields, split=split.key, variant=name, paths=paths, member=member)


def with_member(variant: VariantConfig, member: int) -> VariantConfig:
    """The variant with one of the teachers that its own joins; -1 leaves it as it is."""
    return variant if member < 0 else replace(variant, teacher=variant.teacher.members[member])


def make_embeddings(engine: Any = None, **fields) -> None:
    """Compute what an `EmbeddingsJob` asks for; with an `engine`, by all of its workers."""
    job = EmbeddingsJob(**fields)
    context = job.context()
    variant, split = with_member(context.variant(job.variant), job.member), context.space.load_split(job.split)
    learned = ready_teacher(context, context.source, split, variant) if variant.teacher.learns else None
    spread = None
    if engine is not None:
        saved = variant.teacher
        if saved.learns:
            key = teacher_key(context, variant, split)
            saved = replace(saved, argument=str(context.space.stage("teachers", key)))
        spread = Spread(engine, saved)
    for dataset, path in zip(context.sets, map(Path, job.paths)):
        teacher = learned or ready_teacher(context, dataset, split, variant, elsewhere=spread is not None)
        logmels = _logmels_for(context, dataset, teacher)
        workers = spread if logmels is None else None  # reading what is there takes no decoding to share
        embed(
            context.clips(dataset),
            list(dataset.hashes),
            teacher,
            path,
            reuse=path.parent,
            spread=workers,
            logmels=logmels,
        )


def _logmels_for(context: RunContext, dataset: Dataset, teacher: Teacher) -> Features | None:
    """The students' log-mels of a set, where they are, number for number, those that the teacher would make."""
    config = context.config
    same = config.data.inputs == "audio" and teacher.takes_logmels(config.audio)
    if not same or context.dtype_of(dataset) != "float32" or not features_path(context, dataset).exists():
        return None
    found = stored_features(context, dataset)
    return found if found.store.hashes == list(dataset.hashes) else None


def ready_teacher(
    context: RunContext, dataset: Dataset, split: Split, variant: VariantConfig, elsewhere: bool = False
) -> Teacher:
    """A variant's teacher of `dataset`: opened, or learned on the clips of a fold without their labels.

    Where it works `elsewhere`, no GPU is needed here.
    """
    teacher = variant.teacher
    if not teacher.learns:
        return open_teacher(on_cpu(teacher) if elsewhere else teacher, dataset.whole or dataset.manifest)
    key = teacher_key(context, variant, split)
    pools = pools_for(context, variant, Learner.TEACHER, split)
    clips = [
        context.clips(context.source, learning_clips(split)),
        *(context.clips(pool.dataset, pool.ids) for pool in pools),
    ]
    hashes = [context.source.hash_of[clip] for clip in learning_clips(split)]
    hashes += [one for pool in pools for one in pool.hashes]
    return learned_teacher(clips, teacher, context.space.stage("teachers", key), key, hashes)
