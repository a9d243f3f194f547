"""CLIP-style transfer: the student's embedding finds its partner among projected teacher embeddings."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.losses import contrastive_loss, prototype_logits, softmax_twice_loss
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer


class ContrastiveTransfer(TargetTransfer):
    """What the contrastive methods share: a projection, cosine logits, and the sum of two terms.

    ``L = L_pred + weight * L_clip`` (Nair 2024, arXiv 2404.06170, whose weight is 0.5). Teacher
    vectors pass a trained affine projection to the student's width and are compared by cosine.

    Parameters
    ----------
    weight : float
        Of the contrastive term; that of the prediction is 1.
    temperature : float > 0, default=0.07
        Divides the cosines.
    multi_label : bool
    faithful : bool, default=False
        As the published code: no temperature, only the student's direction, and a second softmax
        in the task loss.

    Raises
    ------
    ConfigError
        ``faithful`` for several labels per clip: the published code knows one.
    """

    def __init__(
        self, weight: float = 0.5, temperature: float = 0.07, multi_label: bool = False, faithful: bool = False
    ):
        super().__init__(multi_label)
        if faithful and multi_label:
            raise ConfigError(
                "transfer.faithful: the published code is for one label per clip; set it to false for clips with several"
            )
        self.weight, self.faithful = weight, faithful
        self.temperature = 1.0 if faithful else temperature

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        super().prepare(targets, labels, manifest, width)
        self.projection = nn.Linear(self.targets.shape[1], width)

    def prediction(self, output: StudentOutput, batch: Batch) -> Tensor:
        if self.faithful:
            return softmax_twice_loss(output.logits.float(), batch.labels)
        return super().prediction(output, batch)

    def partners(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Teacher vectors (m, d) to choose from, and which of them match, (n, m) as in `contrastive_loss`."""
        raise NotImplementedError

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        vectors, matches = self.partners(batch)
        logits = prototype_logits(output.embedding.float(), self.projection(vectors), self.temperature)
        contrast = contrastive_loss(logits, matches, symmetric=not self.faithful)
        return {"prediction": self.prediction(output, batch), "contrast": self.weight * contrast}
