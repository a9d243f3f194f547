"""Class scores of a linear classifier on frozen vectors, as soft labels for a student."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.losses import binary_kd, multiclass_kd
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch
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
