"""What a run has to do: which stages for which variants, each once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from embcomp.config import VariantConfig
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.compressor import CompressorJob, compressor_job
from embcomp.pipeline.stages.embeddings import EmbeddingsJob, embeddings_job
from embcomp.pipeline.stages.features import FeaturesJob, features_job
from embcomp.pipeline.stages.joined import JoinedJob, joined_job
from embcomp.pipeline.stages.pools import adapts
from embcomp.pipeline.stages.probe import plan_embedding_probe, plan_floor, plan_student_probe, vectors_name
from embcomp.pipeline.stages.scoring import Tested, TestedJob
from embcomp.pipeline.stages.student import plan_student
from embcomp.pipeline.stages.views import ViewedSet, ViewJob, view_jobs
from embcomp.pipeline.workspace import Split
from embcomp.teachers import TeacherSettings
from embcomp.transfer import Source


@dataclass
class Plan:
    """Stages in the order they run; variants share those with the same result.

    Attributes
    ----------
    context : RunContext
    splits : list of Split
    features, compressors, views, joined_views : dict of str to Job
        By the path of the result.
    embeddings, joined : dict of tuple of str to Job
        By the paths of the results.
    students, probes : list of Tested
    """

    context: RunContext
    splits: list[Split]
    features: dict[str, FeaturesJob] = field(default_factory=dict)
    embeddings: dict[tuple[str, ...], EmbeddingsJob] = field(default_factory=dict)
    joined: dict[tuple[str, ...], JoinedJob] = field(default_factory=dict)
    compressors: dict[str, CompressorJob] = field(default_factory=dict)
    views: dict[str, ViewJob] = field(default_factory=dict)
    joined_views: dict[str, ViewJob] = field(default_factory=dict)
    students: list[Tested] = field(default_factory=list)
    probes: list[Tested] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = self.context
        self._embeddings_of: dict[tuple[TeacherSettings, str, bool], EmbeddingsJob | JoinedJob] = {}
        if not context.has_students:
            self._compare_vectors()
            return
        jobs = [features_job(context, number) for number in range(len(context.sets))]
        jobs += [features_job(context, 0, shift) for shift in context.shifts]
        self.features = {job.path: job for job in jobs}
        for split in self.splits:
            students, probed = [], {}
            for variant in context.config.variants:
                students.append(self._add(variant, split, probed))
            self.students += students
            if context.config.evaluation.probe:
                self.probes += [plan_student_probe(context, student) for student in students]
                self.probes.append(plan_floor(context, split))

    @property
    def student_jobs(self) -> list[TestedJob]:
        """Jobs of the students, the longest first, so that at the end no worker is left alone with a long one."""

        def clips(student: Tested) -> float:
            training = self.context.variant(student.variant).training
            if training.minutes:
                return math.inf
            if training.epochs:
                return training.epochs * len(student.split.fit)
            return training.steps * training.batch_size * training.accumulate

        return [student.job for student in sorted(self.students, key=clips, reverse=True)]

    def _compare_vectors(self) -> None:
        """A run without students: the probes of each variant, first those on embeddings as they are, and the floor."""
        variants = sorted(self.context.config.variants, key=lambda one: one.transfer.compresses)
        raw = {one.teacher for one in variants if not one.transfer.compresses}
        for split in self.splits:
            for one in {one.teacher: one for one in variants if one.teacher not in raw}.values():
                name, embeddings = f"raw {one.teacher.title}", self._embeddings(one, split)
                self.probes.append(plan_embedding_probe(self.context, one, split, embeddings, None, name))
            for one in variants:
                embeddings = self._embeddings(one, split)
                compressor = self._compressor(one, split, embeddings)
                self.probes.append(plan_embedding_probe(self.context, one, split, embeddings, compressor, one.name))
            self.probes.append(plan_floor(self.context, split))

    def _compressor(self, variant: VariantConfig, split: Split, embeddings: list[Path]) -> Path | None:
        if not variant.transfer.compresses:
            return None
        job = compressor_job(self.context, variant, split, embeddings)
        self.compressors[job.path] = job
        return Path(job.path)

    def _add(self, variant: VariantConfig, split: Split, probed: dict[str, str]) -> Tested:
        """The student of a variant and what it needs; probes on the vectors whose paths are not among `probed`.

        That has their names in tables: two kinds of vectors of one name would be taken for one.
        """
        source = variant.transfer.source
        if source == Source.NONE:
            return plan_student(self.context, variant, split, [], None, views=self._views(variant, split, []))
        embeddings = self._embeddings(variant, split)
        compressor = self._compressor(variant, split, embeddings)
        if self.context.config.evaluation.probe:
            targets = [None, compressor] if source == Source.TARGET else [None]
            for target in targets:
                path, name = str(target or embeddings[0]), vectors_name(variant, target is not None)
                if path not in probed:
                    note = f" ({variant.name})" if name in probed.values() else ""
                    probed[path] = name + note
                    vectors = embeddings[: len(self.context.datasets)]
                    self.probes.append(plan_embedding_probe(self.context, variant, split, vectors, target, note=note))
        job = self._embeddings_job(variant, split)
        joined = job if isinstance(job, JoinedJob) else None
        views = self._views(variant, split, embeddings, joined)
        place = joined.teacher if joined else None
        return plan_student(self.context, variant, split, embeddings, compressor, place, views)

    def _views(
        self, variant: VariantConfig, split: Split, embeddings: list[Path], joined: JoinedJob | None = None
    ) -> list[ViewedSet]:
        found = []
        for one, jobs in view_jobs(self.context, variant, split, self.splits, embeddings, joined):
            found.append(one)
            for job in jobs:
                (self.joined_views if job.joined else self.views).setdefault(job.path, job)
        return found

    def _embeddings(self, variant: VariantConfig, split: Split) -> list[Path]:
        return [Path(path) for path in self._embeddings_job(variant, split).paths]

    def _embeddings_job(self, variant: VariantConfig, split: Split) -> EmbeddingsJob | JoinedJob:
        members = variant.teacher.members
        # A teacher that is learned differs where the unlabelled sets are left out; a join is scaled by the fit clips.
        learned_from = (variant.training.unlabelled, adapts(variant))
        known = (variant.teacher, split.key if members else split.fold, *learned_from)
        if known not in self._embeddings_of:
            jobs = [embeddings_job(self.context, variant, split, at) for at in range(len(members))]
            jobs = [self.embeddings.setdefault(tuple(job.paths), job) for job in jobs]
            if members:
                job = joined_job(self.context, variant, split, jobs)
                self._embeddings_of[known] = self.joined.setdefault(tuple(job.paths), job)
            else:
                job = embeddings_job(self.context, variant, split)
                self._embeddings_of[known] = self.embeddings.setdefault(tuple(job.paths), job)
        return self._embeddings_of[known]
