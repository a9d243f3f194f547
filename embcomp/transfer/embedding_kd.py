"""EAsT-KD: the teacher's embedding and its class scores together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch
from embcomp.transfer.embedding import DistanceSettings, EmbeddingTransfer
from embcomp.transfer.soft_labels import SoftLabels


class EmbeddingKD(EmbeddingTransfer):
    """Match the batch structure of the embedding and the class scores of a linear teacher on it.

    ``L = (1 - weight) * L_pred + weight * (kd_weight * L_KD + (1 - kd_weight) * L_dist)``, Ding &
    Lerch 2023, "Audio Embeddings as Teachers for Music Classification" (arXiv 2306.17424),
    variant EAsT-KD, whose share of L_KD is 0.3, that of L_dist 0.7, and whose temperature is 2. The
    linear teacher reads the time average of the embedding, also where L_dist compares frames.
    """

    name = "embedding_kd"
    summary = "the raw embedding and the class scores of a linear teacher on it (EAsT-KD)"
    needs_labels = True

    @dataclass(frozen=True)
    class Settings(DistanceSettings):
        kd_weight: float = setting(
            0.3, "share of L_KD in the transfer term, L_dist has the rest", at_least=0, at_most=1
        )
        temperature: float = setting(2.0, "softens the class scores", at_least=0.01)
        faithful: bool = setting(False, "leave out scores whose label is unknown, see `LogitKD`")

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.soft_labels = SoftLabels(self.settings.temperature, multi_label, self.settings.faithful)

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        super().prepare(targets, labels, width)
        self.soft_labels.prepare(targets if targets.ndim == 2 else targets.mean(1), labels)

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(output, batch)
        kd_weight = self.settings.kd_weight
        return {
            "prediction": terms["prediction"],
            "distance": (1 - kd_weight) * terms["distance"],
            "kd": self.settings.weight * kd_weight * self.soft_labels(output, batch),
        }
