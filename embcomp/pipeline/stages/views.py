"""Views of the clips that students are trained on: what students get of them, and what a teacher says of them.

Clips of a test part are in no view that a student of that fold reads, and clips of further sets in none at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embcomp.audio.features import Features, compute_features
from embcomp.audio.views import View, ViewedClips, views_of
from embcomp.config import VariantConfig
from embcomp.pipeline.stages.base import Job, RunContext, learning_clips
from embcomp.pipeline.stages.embeddings import ready_teacher, with_member
from embcomp.pipeline.stages.features import inputs_version
from embcomp.pipeline.stages.joined import JoinedJob
from embcomp.pipeline.stages.pools import Learner, pools_for
from embcomp.pipeline.workspace import Split
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.teachers import embed
from embcomp.teachers.joined import read_join
from embcomp.teachers.joining import write_joined
from embcomp.training.assembly import Part

VERSION = 1  # raised when a view sounds otherwise


@dataclass(frozen=True)
class ViewJob(Job):
    """One view of clips of one set: log-mels, or the embeddings of a variant's teacher.

    Attributes
    ----------
    number : int
        Which of `RunContext.sets`.
    view : dict
        Fields of a `View`.
    ids : list of str
        Of the clips.
    path : str
    variant : str
        Empty for log-mels.
    split : str
        Key of a split of the fold, for a teacher that is learned; empty for log-mels.
    member : int
        Which of the teachers that the variant's joins; -1 is the variant's own.
    joined : str or None
        Path of a teacher that joins several, where their embeddings of the view are to be joined.
    members : list of str
        Paths of these.
    """

    number: int
    view: dict[str, Any]
    ids: list[str]
    path: str
    variant: str = ""
    split: str = ""
    member: int = -1
    joined: str | None = None
    members: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [self.path]


@dataclass(frozen=True)
class ViewedSet:
    """Where one view of clips of one set lies, as JSON can carry it in a student's job.

    Attributes
    ----------
    number : int
        Which of `RunContext.sets`; the first holds the labelled clips.
    features : str
        Path of the log-mels.
    embedding : str or None
        Path of the embeddings; None without a teacher.
    """

    number: int
    features: str
    embedding: str | None


def trained_on(splits: Sequence[Split]) -> list[str]:
    """The clips that some split trains on, sorted."""
    return sorted({clip for split in splits for clip in learning_clips(split)})


def view_jobs(
    context: RunContext,
    variant: VariantConfig,
    split: Split,
    splits: Sequence[Split],
    embeddings: Sequence[Path],
    joined: JoinedJob | None,
) -> Iterator[tuple[ViewedSet, list[ViewJob]]]:
    """Each view that the student of a variant learns from, with the jobs that make it, in order.

    Parameters
    ----------
    splits : sequence of Split
        Of the whole run: log-mels, and embeddings of a teacher that is not learned, serve all of them.
    embeddings : sequence of Path
        Of the clips as they are, of all sets; none without a teacher.
    joined : JoinedJob or None
        That of a teacher that joins several.
    """
    # What is tested is in no view, with or without its labels.
    pools = {
        pool.number: pool.ids
        for pool in pools_for(context, variant, Learner.STUDENT, split)
        if pool.number >= len(context.datasets)
    }
    of_run, of_fold = trained_on(splits), trained_on([split])
    for view in views_of(variant.training):
        for number in (0, *pools):
            ids, own = (pools[number],) * 2 if number else (of_run, of_fold)
            settings = [VERSION, asdict(view), context.sets[number].audio_key, context.input_settings, ids]
            path = context.space.stage("views", fingerprint([settings, *inputs_version()]))
            first = ViewJob(**context.job_fields, number=number, view=asdict(view), ids=ids, path=str(path))
            jobs = [first]
            if variant.transfer.cached:
                by_variant = replace(first, variant=variant.name, split=split.key)
                teachers = variant.teacher.members or [variant.teacher]
                made = [Path(paths[number]).name for paths in joined.members] if joined else [embeddings[number].name]
                for at, (teacher, name) in enumerate(zip(teachers, made)):
                    one = replace(by_variant, member=at if joined else -1)
                    jobs.append(_embedding(context, one, name, own if teacher.learns else ids))
            if joined is not None:
                parts = [job.path for job in jobs[1:]]
                one = replace(by_variant, joined=joined.teacher, members=parts)
                jobs.append(_embedding(context, one, embeddings[number].name, own))
            yield ViewedSet(number, str(path), jobs[-1].path if len(jobs) > 1 else None), jobs


def _embedding(context: RunContext, job: ViewJob, name: str, ids: list[str]) -> ViewJob:
    """The job for the view's embeddings of clips `ids`; `name` is that of the embeddings of the clips as they are."""
    key = fingerprint([VERSION, job.view, context.sets[job.number].audio_key, name, ids])
    return replace(job, ids=ids, path=str(context.space.stage("embeddings", key)))


def views_key(variant: VariantConfig) -> list:
    """What the key of a student takes in of its views, beside the settings of its training: nothing without any."""
    return [["views", VERSION]] if variant.training.views else []


def make_view(**fields) -> None:
    """Compute what a `ViewJob` asks for."""
    job = ViewJob(**fields)
    context, path = job.context(), Path(job.path)
    dataset = context.sets[job.number]
    clips = ViewedClips.viewed(context.clips(dataset, job.ids), View(**job.view))
    hashes = [dataset.hash_of[clip] for clip in job.ids]
    if not job.variant:
        compute_features(clips, hashes, context.config.audio, path, reuse=path.parent)
        return
    if job.joined is not None:
        write_joined(path, [EmbeddingStore.open(one) for one in job.members], job.ids, hashes, read_join(job.joined)[1])
        return
    variant, split = with_member(context.variant(job.variant), job.member), context.space.load_split(job.split)
    teacher = ready_teacher(context, dataset, split, variant)
    embed(clips, hashes, teacher, path, reuse=path.parent)


def viewed_part(context: RunContext, one: ViewedSet, part: Part) -> Part:
    """The clips of `part` in one view."""
    features = Features(EmbeddingStore.open(one.features), context.config.audio.n_mels)
    embeddings = EmbeddingStore.open(one.embedding) if one.embedding is not None else None
    return replace(part, features=features, embeddings=embeddings)
