"""EAsT-KD: the teacher's embedding and its class scores together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch
from embcomp.transfer.embedding import EmbeddingTransfer
from embcomp.transfer.logit_kd import SoftLabels


class EmbeddingKD(EmbeddingTransfer):
    """Match the batch structure of the embedding and the class scores of a linear teacher on it.

    ``L = (1 - weight) * L_pred + weight * (kd_weight * L_KD + (1 - kd_weight) * L_dist)``, Ding &
    Lerch 2023, "Audio Embeddings as Teachers for Music Classification" (arXiv 2306.17424),
    variant EAsT-KD, whose share of L_KD is 0.3, that of L_dist 0.7, and whose temperature is 2. The
    linear teacher reads the time average of the embedding, also where L_dist compares frames.

    Parameters
    ----------
    distance, weight, frames, repeats, stage_weights
        See `EmbeddingTransfer`; as published L_dist compares frames of the last stage.
    kd_weight : float in [0, 1], default=0.3
    temperature : float > 0, default=2.0
    multi_label : bool
    faithful : bool, default=False
        See `LogitKD`.
    """

    needs_labels = True

    def __init__(
        self,
        distance: str = "distance_correlation",
        weight: float = 0.5,
        kd_weight: float = 0.3,
        temperature: float = 2.0,
        multi_label: bool = False,
        faithful: bool = False,
        frames: bool = False,
        repeats: tuple[int, int] = (1, 1),
        stage_weights: Sequence[float] = (),
    ):
        super().__init__(distance, weight, multi_label, False, frames, repeats, stage_weights)
        self.kd_weight = kd_weight
        self.soft_labels = SoftLabels(temperature, multi_label, faithful)

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        super().prepare(targets, labels, manifest, width)
        self.soft_labels.prepare(targets if targets.ndim == 2 else targets.mean(1), labels)

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(output, batch)
        return {
            "prediction": terms["prediction"],
            "distance": (1 - self.kd_weight) * terms["distance"],
            "kd": self.weight * self.kd_weight * self.soft_labels(output, batch),
        }
