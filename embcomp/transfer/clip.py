"""CLIP-style transfer: the student's embedding finds its partner among projected teacher embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.errors import ConfigError
from embcomp.losses import contrastive_loss, prototype_logits, softmax_twice_loss
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer, TransferSettings


@dataclass(frozen=True)
class ContrastSettings(TransferSettings):
    """Settings that the contrastive methods share."""

    weight: float = setting(0.5, "of the contrastive term; that of the prediction is 1", at_least=0, at_most=1)
    contrast_temperature: float = setting(0.07, "divides the cosines", at_least=0.001)
    faithful: bool = setting(
        False, "as the published code: no temperature, one direction, a second softmax in the task loss"
    )


class ContrastiveTransfer(TargetTransfer):
    """What the contrastive methods share: a projection, cosine logits, and the sum of two terms.

    ``L = L_pred + weight * L_clip`` (Nair 2024, arXiv 2404.06170, whose weight is 0.5). Teacher
    vectors pass a trained affine projection to the student's width and are compared by cosine.

    Raises
    ------
    ConfigError
        ``faithful`` for several labels per clip: the published code knows one.
    """

    Settings = ContrastSettings
    compares_clips = True

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        if self.settings.faithful and multi_label:
            raise ConfigError(
                "transfer.faithful: the published code is for one label per clip; set it to false for clips with several"
            )
        self.temperature = 1.0 if self.settings.faithful else self.settings.contrast_temperature

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        super().prepare(targets, labels, width)
        self.projection = nn.Linear(self.targets.shape[1], width)

    def prediction(self, output: StudentOutput, batch: Batch) -> Tensor:
        if self.settings.faithful:
            return softmax_twice_loss(output.logits.float(), batch.labels)
        return super().prediction(output, batch)

    def partners(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Teacher vectors (m, d) to choose from, and which of them match, (n, m) as in `contrastive_loss`."""
        raise NotImplementedError

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        vectors, matches = self.partners(batch)
        logits = prototype_logits(output.embedding.float(), self.projection(vectors), self.temperature)
        contrast = contrastive_loss(logits, matches, symmetric=not self.settings.faithful)
        return {"prediction": self.prediction(output, batch), "contrast": self.settings.weight * contrast}
