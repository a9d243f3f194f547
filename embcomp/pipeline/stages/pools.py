"""Which clips without labels something is learned from: decided here for teachers, compressors and students alike."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from embcomp.compression.parameters import needs_labels
from embcomp.config import VariantConfig
from embcomp.data.guards import joined_groups
from embcomp.data.splits import halves
from embcomp.errors import ManifestError
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.files import fingerprint


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

    def key(self, embeddings: Sequence[Path]) -> str:
        """Key of the clips' vectors, among the embeddings of all sets."""
        name = embeddings[self.number].name
        # Of a whole set the name says all, as it did before there could be parts.
        return name if len(self.ids) == len(self.dataset.manifest) else fingerprint([name, self.ids])


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


def pools_for(context: RunContext, variant: VariantConfig, learner: Learner, split: Split) -> list[Pool]:
    """The unlabelled clips that a variant's teacher, compressor or student is learned from, set by set.

    Those of sets that are tested come last, see `adapts`.
    """
    if not learns(variant, learner):
        return []
    first = len(context.datasets)
    found = [Pool(first + number, pool, pool.manifest.ids) for number, pool in enumerate(context.pools)]
    if how := adapts(variant):
        for number in adapted_sets(context, split):
            found.append(Pool(number, context.datasets[number], target_parts(context, number, split, how)[0]))
    return found


def adapts(variant: VariantConfig) -> str:
    """How a variant learns from the sets that it is tested on: from ``groups`` or ``clips``; empty where it does not.

    Without cached vectors a student can learn nothing of them, so neither does its teacher.
    """
    training = variant.training
    asked = training.unlabelled and training.transductive != "none"
    return training.transductive if asked and variant.transfer.cached else ""


def learned_from_tested(context: RunContext, variant: VariantConfig, split: Split, *learners: Learner) -> str:
    """How some of a variant's teacher, compressor and student learn from sets that are tested; empty if none does."""
    pools = [pool for learner in learners for pool in pools_for(context, variant, learner, split)]
    return adapts(variant) if any(pool.number < len(context.datasets) for pool in pools) else ""


def adapted_sets(context: RunContext, split: Split) -> list[int]:
    """The data sets whose clips a transductive variant learns from."""
    which = context.config.data.transductive
    here = [0] if which != "cross" and split.test else []
    return here + (list(range(1, len(context.datasets))) if which != "in-domain" else [])


def target_parts(context: RunContext, number: int, split: Split, how: str) -> tuple[list[str], list[str]]:
    """The clips of a tested set that a transductive variant learns from, and those that it is scored on.

    Parameters
    ----------
    number : int
        Of the data set; of the one trained on, the test part of the split counts.
    how : {"groups", "clips"}
        See ``training.transductive``. Halves are drawn by ``split.seed``, the same for every seed of the run; groups
        that share audio stay together.

    Raises
    ------
    ManifestError
        There is one group only, which cannot be both learned from and scored.
    """
    dataset = context.datasets[number]
    ids = dataset.manifest.ids if number else split.test
    if how == "clips":
        return ids, ids
    groups = tuple(dataset.manifest.groups[dataset.rows(ids)].tolist())
    try:
        learned, scored = _halves(groups, tuple(dataset.hash_of[clip] for clip in ids), context.config.split.seed)
    except ManifestError:
        where = f"{dataset.manifest.name}" + ("" if number else f", fold {split.fold!r}")
        raise ManifestError(
            f"{where}: all {len(ids)} clips that are tested are of one group, which cannot be both learned from and "
            'scored; take training.transductive = "clips", or leave this set out by data.transductive'
        ) from None
    return [ids[row] for row in learned], [ids[row] for row in scored]


@functools.lru_cache(maxsize=64)
def _halves(groups: tuple[str, ...], hashes: tuple[str, ...], seed: int) -> tuple[list[int], list[int]]:
    learned, scored = halves(joined_groups(groups, hashes), seed)
    return learned.tolist(), scored.tolist()
