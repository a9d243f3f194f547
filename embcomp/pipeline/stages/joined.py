"""The embeddings of several teachers made one, scaled by the fit clips of a split alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embcomp.config import VariantConfig
from embcomp.config.several import JOIN
from embcomp.pipeline.stages.base import Job, RunContext
from embcomp.pipeline.stages.embeddings import EmbeddingsJob, teacher_key, with_member
from embcomp.pipeline.workspace import Split
from embcomp.storage.files import fingerprint
from embcomp.storage.seen import Seen
from embcomp.storage.store import EmbeddingStore
from embcomp.teachers import open_teacher
from embcomp.teachers.joined import check_member, save_joined
from embcomp.teachers.joining import fit_blocks, write_joined

VERSION = 1  # raised when another join comes of the same embeddings


@dataclass(frozen=True)
class JoinedJob(Job):
    """The joined embeddings of every data set.

    Attributes
    ----------
    split : str
        Key; the scales come from its fit clips.
    variant : str
    members : list of list of str
        For each teacher the paths of its embeddings, of `datasets` and then `pools`.
    teacher : str
        Path of the join, from which it can be opened.
    paths : list of str
        As those of a member.
    """

    split: str
    variant: str
    members: list[list[str]]
    teacher: str
    paths: list[str]

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [*self.paths, self.teacher]


def joined_job(context: RunContext, variant: VariantConfig, split: Split, members: list[EmbeddingsJob]) -> JoinedJob:
    """The job that joins what `members`, the jobs of a variant's teachers, write.

    Raises
    ------
    TeacherError
        Stored vectors are several per clip.
    """
    for one in variant.teacher.members:
        if not one.choice.runs:  # others say how many vectors they give in their settings
            stored = open_teacher(one, context.source.whole or context.source.manifest)
            check_member(one.spec, stored.frames, stored.dim, stored.dim)
    key = fingerprint([VERSION, [Path(one.paths[0]).name for one in members], split.fit])
    paths = [
        str(context.space.stage("embeddings", fingerprint([VERSION, "joined", key, [Path(one).name for one in made]])))
        for made in zip(*(one.paths for one in members))
    ]
    return JoinedJob(
        **context.job_fields,
        split=split.key,
        variant=variant.name,
        members=[one.paths for one in members],
        teacher=str(context.space.stage("teachers", key)),
        paths=paths,
    )


def make_joined(**fields) -> None:
    """Fit and write what a `JoinedJob` asks for."""
    job = JoinedJob(**fields)
    context = job.context()
    variant, split, place = context.variant(job.variant), context.space.load_split(job.split), Path(job.teacher)
    stores = [[EmbeddingStore.open(path) for path in paths] for paths in job.members]
    settings = variant.teacher
    specs = settings.argument.split(JOIN)
    blocks = fit_blocks([one[0] for one in stores], split.fit, specs)
    for dataset, path, made_of in zip(context.sets, job.paths, zip(*stores)):
        write_joined(path, made_of, dataset.manifest.ids, list(dataset.hashes), blocks)
    seen = Seen.of(context.source.hash_of[clip] for clip in split.fit)
    beside, weights = [], []
    for number, (one, made) in enumerate(zip(settings.members, stores)):
        learned = teacher_key(context, with_member(variant, number), split)
        beside.append(learned)
        weights.append(made[0].settings["weights"] if one.choice.runs else "")
    save_joined(place, specs, beside, weights, blocks, place.name, seen)
