"""Concept transfer: the student's embedding must say which cluster of the teacher's space its clip lies in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer
from embcomp.transfer.clusters import ConceptClassifier, Concepts


class ConceptTransfer(TargetTransfer):
    """Train the student through a frozen classifier of the teacher's concepts.

    ``L = (1 - weight) * L_pred + weight * L_conc``, with L_conc of Knowledge-CLIP (Kao 2024, arXiv
    2412.03513): a classifier learns the k-means cluster of each teacher embedding, is frozen, and reads the
    student's embedding from then on. There the teacher embeds captions, the student images, and
    L_conc has a weight of 0.01 beside two other terms (`embcomp.knowledge_clip`); here both hear
    the same clip. See `ConceptClassifier` for how it takes embeddings of two widths, which is ours.

    Parameters
    ----------
    weight : float in [0, 1]
    concepts : int, default=32
        K-means clusters, at most one per clip.
    labels : {"soft", "hard"}
        See `Concepts.shares`.
    """

    def __init__(self, weight: float = 0.5, concepts: int = 32, labels: str = "soft", multi_label: bool = False):
        super().__init__(multi_label)
        self.weight, self.concepts, self.labels = weight, concepts, labels

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        # Follows the generator that draws the student's weights too.
        seed = int(torch.randint(2**31 - 1, ()))
        found = Concepts.find(targets, self.concepts, seed)
        shares = found.shares(targets, self.labels)
        self.classifier = ConceptClassifier.fit(targets, shares, width, seed)
        # Of the teacher only the concept of each clip is needed from here on.
        super().prepare(shares.numpy(), labels, manifest, width)

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        concept = self.classifier.loss(output.embedding.float(), self.target_of(batch))
        return {"prediction": (1 - self.weight) * self.prediction(output, batch), "concept": self.weight * concept}
