"""Embedding compression with the compressor and the student trained together."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.errors import choose
from embcomp.losses import DISTANCES, prediction_loss
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer


class JointCompression(TargetTransfer):
    """One step trains the student and, through a head of its own, the compressor.

    Ding & Lerch 2024, "Embedding Compression for Teacher-to-Student Knowledge
    Transfer" (arXiv 2402.06761)::

        L = (1 - weight) * L_pred + weight * D(f_student, stopgrad(e')) + L_teacher
        e' = compressor(e),  L_teacher = task_loss(head(e'), y)

    The paper's text was not at hand in full: that L_teacher is a task loss
    through a linear head, and the weights, are our reading. With
    ``stop_gradient=False`` the distance also trains the compressor.

    Parameters
    ----------
    compressor : nn.Module
        Embedding (n, D) to target (n, d); trained.
    distance : str
        See `embcomp.losses.DISTANCES`.
    weight : float in [0, 1]
    stop_gradient : bool, default=True
        Keep the student's distance from changing the compressor.
    projector : bool, default=False
        See `EmbeddingTransfer`.
    """

    needs_labels = True

    def __init__(
        self,
        compressor: nn.Module,
        distance: str = "distance_correlation",
        weight: float = 0.5,
        stop_gradient: bool = True,
        multi_label: bool = False,
        projector: bool = False,
    ):
        super().__init__(multi_label)
        self.compressor = compressor.requires_grad_(True)
        self.distance = choose("distance", distance, DISTANCES)
        self.weight = weight
        self.stop_gradient = stop_gradient
        self.has_projector = projector

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        super().prepare(targets, labels, manifest, width)
        dim = self.compressor(self.targets[:1]).shape[1]
        self.projector = nn.Linear(width, dim) if self.has_projector else nn.Identity()
        self.head = nn.Linear(dim, len(labels.classes))

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        compact = self.compressor(self.target_of(batch))
        target = compact.detach() if self.stop_gradient else compact
        distance = self.distance(self.projector(output.embedding.float()), target)
        return {
            "prediction": (1 - self.weight) * self.prediction(output, batch),
            "distance": self.weight * distance,
            "teacher": prediction_loss(self.head(compact), batch.labels, self.multi_label),
        }
