"""Embedding compression: the student learns from targets that the embedding was compressed to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.errors import ConfigError
from embcomp.losses import DISTANCES, RELATIONS, prediction_loss
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, Source, TargetTransfer, TransferSettings, label_free_setting
from embcomp.transfer.soft_labels import SoftLabels


class Compressed(TargetTransfer):
    """Match the batch structure of compressed embeddings.

    Ding & Lerch 2024, "Embedding Compression for Teacher-to-Student Knowledge
    Transfer" (arXiv 2402.06761). Two-stage, the targets ``e'`` are compressed beforehand::

        L = (1 - weight) * L_pred + weight * D(f_student, e')

    With ``soft_labels`` a share of the second term goes to the class scores of a linear classifier fitted on the
    targets, for every clip, labelled or not; ours, after EAsT-KD's mixture (arXiv 2306.17424)::

        L = (1 - weight) * L_pred + weight * ((1 - soft_labels) * D(f_student, e') + soft_labels * L_KD)

    With the joint schedule one step trains the student and, through a head of its own, the compressor::

        L = (1 - weight) * L_pred + weight * D(f_student, stopgrad(e')) + L_teacher
        e' = compressor(e),  L_teacher = task_loss(head(e'), y)

    The paper's text was not at hand in full: that L_teacher is a task loss
    through a linear head, and the weights, are our reading. With
    ``stop_gradient=False`` the distance also trains the compressor.

    Parameters
    ----------
    compressor : nn.Module, optional
        Embedding (n, D) to target (n, d), to start the joint schedule from; it is trained.

    Raises
    ------
    ConfigError
        The joint schedule got no compressor.
    """

    name = "compressed"
    summary = "the compressed embedding, two-stage or joint"

    @dataclass(frozen=True)
    class Settings(TransferSettings):
        distance: str = setting(
            "distance_correlation", "cosine compares directly and needs equal widths", choices=tuple(DISTANCES)
        )
        weight: float = setting(0.5, "lambda of (1 - lambda) L_pred + lambda L_reg", at_least=0, at_most=1)
        schedule: str = setting("two-stage", "or joint", choices=("two-stage", "joint"))
        stop_gradient: bool = setting(True, "joint: no gradient from the student's distance into the compressor")
        student_projector: bool = setting(
            False, "compare a trained linear map of the student's embedding, as wide as the target"
        )
        soft_labels: float = setting(
            0.0,
            "share of the class scores of a linear classifier on the target in the transfer term",
            at_least=0,
            at_most=1,
        )
        temperature: float = setting(2.0, "softens these class scores", at_least=0.01)
        label_free: float = label_free_setting()

        def conflict(self) -> str:
            if self.joint and (self.soft_labels or self.label_free):
                return (
                    "transfer.soft_labels and transfer.label_free need targets that stay as they are; set them to 0, "
                    "or transfer.schedule to two-stage"
                )
            return ""

        @property
        def compresses(self) -> bool:
            return True

        @property
        def joint(self) -> bool:
            return self.schedule == "joint"

        @property
        def equal_widths(self) -> bool:
            return self.distance not in RELATIONS and not self.student_projector

        @property
        def source(self) -> Source:
            return Source.EMBEDDING if self.joint else Source.TARGET

    def __init__(self, multi_label: bool = False, compressor: nn.Module | None = None, **options: Any):
        super().__init__(multi_label, **options)
        self.distance = DISTANCES[self.settings.distance]
        self.compares_clips = self.settings.distance in RELATIONS
        self.needs_labels = self.settings.joint or self.settings.soft_labels > 0
        self.soft_labels = SoftLabels(self.settings.temperature, multi_label, known_only=False)
        if self.settings.joint:
            if compressor is None:
                raise ConfigError("the joint schedule trains a compressor and needs one to start from")
            self.compressor = compressor.requires_grad_(True)

    @classmethod
    def build(
        cls,
        settings: TransferSettings,
        multi_label: bool,
        compressor: nn.Module | None = None,
        teacher: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Compressed:
        return cls(multi_label, compressor, **settings.options())

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        super().prepare(targets, labels, width)
        joint = self.settings.joint
        dim = (self.compressor(self.targets[:1]) if joint else self.targets).shape[1]
        self.projector = nn.Linear(width, dim) if self.settings.student_projector else nn.Identity()
        if self.settings.soft_labels:
            self.soft_labels.prepare(targets, labels)
        if joint:
            self.head = nn.Linear(dim, len(labels.classes))

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        settings, target = self.settings, self.target_of(batch)
        compact = self.compressor(target) if settings.joint else target
        target = compact.detach() if settings.stop_gradient else compact
        rest, weight = self.shares(batch, settings.weight)
        distance = self.distance(self.projector(output.embedding.float()), target)
        terms = {
            "prediction": rest * self.prediction(output, batch),
            "distance": (1 - settings.soft_labels) * weight * distance,
        }
        if settings.soft_labels:
            # Before labels take part, the scores, which come of labels, take none either.
            scores = self.soft_labels(output, batch) if rest else output.logits.sum() * 0
            terms["kd"] = settings.soft_labels * weight * scores
        if settings.joint:
            terms["teacher"] = prediction_loss(self.head(compact), batch.labels, self.multi_label)
        return terms
