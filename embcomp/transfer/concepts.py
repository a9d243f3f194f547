"""Concept transfer: the student's embedding must say which cluster of the teacher's space its clip lies in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer, TransferSettings
from embcomp.transfer.clusters import ConceptClassifier, Concepts


class ConceptTransfer(TargetTransfer):
    """Train the student through a frozen classifier of the teacher's concepts.

    ``L = (1 - weight) * L_pred + weight * L_conc``, with L_conc of Knowledge-CLIP (Kao 2024, arXiv
    2412.03513): a classifier learns the k-means cluster of each teacher embedding, is frozen, and reads the
    student's embedding from then on. There the teacher embeds captions, the student images, and
    L_conc has a weight of 0.01 beside two other terms (`embcomp.knowledge_clip`); here both get
    the same clip. See `ConceptClassifier` for how it takes embeddings of two widths, which is ours.
    """

    name = "concepts"
    summary = "k-means clusters of the embedding, through a frozen classifier of them (Knowledge-CLIP)"

    @dataclass(frozen=True)
    class Settings(TransferSettings):
        weight: float = setting(0.5, "of the concepts; the prediction has the rest", at_least=0, at_most=1)
        concepts: int = setting(32, "k-means clusters of the teacher's embeddings, at most one per clip", at_least=2)
        concept_labels: str = setting("soft", "shares of the clusters, or hard: the nearest", choices=("soft", "hard"))

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        # Follows the generator that draws the student's weights too.
        seed = int(torch.randint(2**31 - 1, ()))
        found = Concepts.find(targets, self.settings.concepts, seed)
        shares = found.shares(targets, self.settings.concept_labels)
        self.classifier = ConceptClassifier.fit(targets, shares, width, seed)
        # Of the teacher only the concept of each clip is needed from here on.
        super().prepare(shares.numpy(), labels, width)

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        concept = self.classifier.loss(output.embedding.float(), self.target_of(batch))
        weight = self.settings.weight
        return {"prediction": (1 - weight) * self.prediction(output, batch), "concept": weight * concept}
