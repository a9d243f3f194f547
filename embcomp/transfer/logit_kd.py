"""Knowledge distillation from a linear teacher on the cached embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, Source, Transfer, TransferSettings
from embcomp.transfer.soft_labels import SoftLabels


class LogitKD(Transfer):
    """Learn from a teacher's softened class scores.

    ``L = (1 - weight) * L_pred + weight * L_KD``: Hinton et al. 2015 (arXiv 1503.02531), with the
    teacher and the binary form of Ding & Lerch 2023 (EAsT, arXiv 2306.17424). One label per clip
    takes the softmax form instead.
    """

    name = "logit_kd"
    summary = "the class scores of a linear teacher on the embedding"
    learns_from = Source.EMBEDDING

    @dataclass(frozen=True)
    class Settings(TransferSettings):
        weight: float = setting(0.5, "of the distillation; the prediction has the rest", at_least=0, at_most=1)
        temperature: float = setting(2.0, "softens the class scores", at_least=0.01)
        # By default scores with an unknown label count: the teacher has an opinion on them, and clips
        # without a label have nothing else to say.
        faithful: bool = setting(False, "leave out scores whose label is unknown, as EAsT's code does")

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.soft_labels = SoftLabels(self.settings.temperature, multi_label, self.settings.faithful)

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        self.soft_labels.prepare(targets, labels)

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        weight = self.settings.weight
        return {
            "prediction": (1 - weight) * self.prediction(output, batch),
            "kd": weight * self.soft_labels(output, batch),
        }
