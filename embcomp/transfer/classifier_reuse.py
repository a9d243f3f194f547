"""Classifier reuse: the student predicts the target and keeps the target's own classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.errors import ConfigError
from embcomp.losses import REGRESSIONS, prediction_loss
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, Source, TargetTransfer, TransferSettings, label_free_setting
from embcomp.transfer.logistic import linear_classifier


class ClassifierReuse(TargetTransfer):
    """Regress compressed targets, and classify what was regressed with the targets' frozen classifier.

    SimKD (Chen et al. 2022, "Knowledge Distillation with the Reused Teacher Classifier", arXiv 2203.14001)::

        L = (1 - weight) * L_pred(C(P(f_student)), y) + weight * D(P(f_student), e')

    P is a trained affine projector of the student's embedding to the target's width, C the logistic regression
    fitted on the labelled clips' targets, frozen. In evaluation ``C(P(.))``, being affine, replaces the student's
    own classifier: the student keeps its size.

    Differs from the paper: its teacher is a network and its features are maps, ours are compressed embeddings,
    standardised; its loss has the squared distance alone (``weight=1``).
    """

    name = "classifier_reuse"
    summary = "the compressed embedding, predicted, with the target's own frozen classifier (SimKD)"
    learns_from = Source.TARGET

    @dataclass(frozen=True)
    class Settings(TransferSettings):
        weight: float = setting(0.5, "of the distance; the prediction has the rest", at_least=0, at_most=1)
        regression_distance: str = setting("mse", "between prediction and target", choices=tuple(REGRESSIONS))
        label_free: float = label_free_setting()

        @property
        def compresses(self) -> bool:
            return True

    needs_labels = True

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.distance = REGRESSIONS[self.settings.regression_distance]
        self.register_buffer("weight", torch.empty(0), persistent=False)
        self.register_buffer("bias", torch.empty(0), persistent=False)

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        rows, weight, bias = linear_classifier(np.asarray(targets, dtype=np.float32), labels)
        super().prepare(rows, labels, width)
        self.weight, self.bias = torch.from_numpy(weight), torch.from_numpy(bias)
        self.projector = nn.Linear(width, rows.shape[1])

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        rest, weight = self.shares(batch, self.settings.weight)
        predicted = self.projector(output.embedding.float())
        logits = predicted @ self.weight.T + self.bias
        return {
            "prediction": rest * prediction_loss(logits, batch.labels, self.multi_label),
            "distance": weight * self.distance(predicted, self.target_of(batch)),
        }

    @torch.no_grad()
    def finish(self, student: nn.Module) -> None:
        classify = getattr(student, "classify", None)
        if not isinstance(classify, nn.Linear):
            raise ConfigError(
                f"classifier_reuse needs a student with a linear classifier, not {type(student).__name__}"
            )
        classify.weight.copy_(self.weight @ self.projector.weight)
        classify.bias.copy_(self.weight @ self.projector.bias + self.bias)
