"""Knowledge distillation from a linear teacher on the cached embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.losses import binary_kd, multiclass_kd
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, Source, Transfer, TransferSettings
from embcomp.transfer.logistic import logistic_scores


class SoftLabels(nn.Module):
    """Frozen class scores of every clip, and how far a student's are from them.

    The teacher is `logistic_scores`, fitted on the labelled clips and asked about all of
    them, so that a clip without a label teaches too. Of mixed clips the scores are mixed: the
    teacher being linear, that is what it says of the mixed embedding.

    Parameters
    ----------
    temperature : float > 0
    multi_label : bool
    known_only : bool
        Leave out what has no known label, as EAsT does.
    """

    def __init__(self, temperature: float, multi_label: bool, known_only: bool):
        super().__init__()
        self.temperature, self.multi_label, self.known_only = temperature, multi_label, known_only
        self.register_buffer("scores", torch.empty(0), persistent=False)
        self.register_buffer("judged", torch.empty(0), persistent=False)

    def prepare(self, targets: np.ndarray, labels: Labels) -> None:
        """Fit the teacher on vectors (n, d) and their labels, and keep what it says."""
        scores = torch.from_numpy(logistic_scores(np.asarray(targets, dtype=np.float32), labels))
        self.judged = ~scores.isnan()
        self.scores = scores.nan_to_num()

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """The distillation loss of a batch, a scalar of at least 0."""
        student, teacher = output.logits.float(), batch.mixed(self.scores.__getitem__)
        known = ~batch.labels.isnan()
        if self.multi_label:
            mask = self.judged[batch.rows]
            return binary_kd(student, teacher, self.temperature, mask & known if self.known_only else mask)
        return multiclass_kd(student, teacher, self.temperature, known.all(1) if self.known_only else None)


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
