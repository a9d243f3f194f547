"""EAsT: the raw teacher embedding regularises the student."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from embcomp.errors import choose
from embcomp.labels import Labels
from embcomp.losses import DISTANCES
from embcomp.manifest import Manifest
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer


class EmbeddingTransfer(TargetTransfer):
    """Match the batch structure of a fixed vector per clip.

    ``L = (1 - weight) * L_pred + weight * L_dist(student embedding, target)``,
    Ding & Lerch 2023, "Audio Embeddings as Teachers for Music Classification"
    (arXiv 2306.17424), variant EAsT-Final. With compressed targets in place of
    the raw embedding this is the two-stage form of embedding compression.

    Differs from the paper: the teacher's clip vector is compared with the
    student's pooled embedding, not frame by frame.

    Parameters
    ----------
    distance : {"distance_correlation", "cosine_distance_difference", "cosine"}
        The cosine is direct and needs equal widths, or the projector.
    weight : float in [0, 1]
        The paper's lambda; it used 0.6 to 0.9.
    projector : bool, default=False
        Compare a trained linear map of the student's embedding, as wide as the target,
        so that a direct distance is possible. The student alone keeps its width.
    """

    def __init__(
        self,
        distance: str = "distance_correlation",
        weight: float = 0.5,
        multi_label: bool = False,
        projector: bool = False,
    ):
        super().__init__(multi_label)
        self.distance = choose("distance", distance, DISTANCES)
        self.weight = weight
        self.has_projector = projector

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        super().prepare(targets, labels, manifest, width)
        self.projector = nn.Linear(width, self.targets.shape[1]) if self.has_projector else nn.Identity()

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        distance = self.distance(self.projector(output.embedding.float()), self.target_of(batch))
        return {"prediction": (1 - self.weight) * self.prediction(output, batch), "distance": self.weight * distance}
