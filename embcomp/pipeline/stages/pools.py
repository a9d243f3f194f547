"""Which clips without labels something is learned from: decided here for teachers, compressors and students alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from embcomp.compression.parameters import needs_labels
from embcomp.config import VariantConfig
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.workspace import Dataset


class Learner(StrEnum):
    """What may learn from clips without labels."""

    TEACHER = "teacher"
    COMPRESSOR = "compressor"
    STUDENT = "student"


@dataclass(frozen=True)
class Pool:
    """Clips that are learned from without labels.

    Attributes
    ----------
    number : int
        Which of `RunContext.sets` they are of.
    dataset : Dataset
    ids : list of str
    """

    number: int
    dataset: Dataset
    ids: list[str]

    @property
    def hashes(self) -> list[str]:
        """Content hash of each clip."""
        return [self.dataset.hash_of[clip] for clip in self.ids]


def learns(variant: VariantConfig, learner: Learner) -> bool:
    """Whether a variant's teacher, compressor or student can learn from clips without labels, and may.

    A compressor that needs labels learns nothing from them, nor does a student whose method has no vectors made
    beforehand.
    """
    if not variant.training.unlabelled:
        return False
    if learner == Learner.TEACHER:
        return variant.teacher.learns
    if learner == Learner.COMPRESSOR:
        return variant.transfer.compresses and not needs_labels(asdict(variant.compressor))
    return variant.transfer.cached


def pools_for(context: RunContext, variant: VariantConfig, learner: Learner) -> list[Pool]:
    """The unlabelled clips that a variant's teacher, compressor or student is learned from, set by set."""
    if not learns(variant, learner):
        return []
    first = len(context.datasets)
    return [Pool(first + number, pool, pool.manifest.ids) for number, pool in enumerate(context.pools)]
