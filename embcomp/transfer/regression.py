"""Regression: the student's embedding predicts the teacher's, vector by vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.losses import REGRESSIONS
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer, TransferSettings, label_free_setting


def linear_head(width: int, dim: int) -> nn.Module:
    """One affine map."""
    return nn.Linear(width, dim)


def mlp_head(width: int, dim: int) -> nn.Module:
    """One hidden layer, four times as wide as the student's embedding."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, dim))


HEADS = {"linear": linear_head, "mlp": mlp_head}


class RegressionTransfer(TargetTransfer):
    """Map the student's embedding to the teacher's through a head that is thrown away afterwards.

    ``L = (1 - weight) * L_pred + weight * D(head(student embedding), target)``, the student-side
    counterpart of compressing the teacher; S-SONDO (El Adlouni et al. 2026, arXiv 2604.24933)
    with ``weight=1``, an MLP and the cosine. With ``weight=1`` the student's classifier
    learns nothing.
    """

    name = "regression"
    summary = "the raw embedding, predicted through a head on the student's side (S-SONDO)"

    @dataclass(frozen=True)
    class Settings(TransferSettings):
        weight: float = setting(0.5, "of the distance; the prediction has the rest", at_least=0, at_most=1)
        head: str = setting("linear", "from student embedding to teacher space", choices=tuple(HEADS))
        regression_distance: str = setting(
            "cosine", "all but the cosine depend on the scale of the targets", choices=tuple(REGRESSIONS)
        )
        clusters: int = setting(
            0, "draw k-means clusters of the teacher's space equally often (S-SONDO took 50); 0 does not", at_least=0
        )
        label_free: float = label_free_setting()

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.distance = REGRESSIONS[self.settings.regression_distance]
        self.drawn: Tensor | None = None

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        super().prepare(targets, labels, width)
        self.head = HEADS[self.settings.head](width, self.targets.shape[1])
        if self.settings.clusters:
            self.drawn = cluster_balanced(self.targets.numpy(), self.settings.clusters)

    def sampling_weights(self) -> Tensor | None:
        return self.drawn

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        distance = self.distance(self.head(output.embedding.float()), self.target_of(batch))
        rest, weight = self.shares(batch, self.settings.weight)
        return {"prediction": rest * self.prediction(output, batch), "distance": weight * distance}


def cluster_balanced(vectors: np.ndarray, clusters: int) -> Tensor:
    """Probability of drawing each row so that every k-means cluster comes equally often.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
    clusters : int
        How many, at most one per row.

    Returns
    -------
    Tensor of float64 of shape (n,), summing to 1
    """
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(min(clusters, len(vectors)), random_state=0, n_init=3)
    members = model.fit_predict(np.asarray(vectors, dtype=np.float32))
    sizes = np.bincount(members)
    return torch.from_numpy(1.0 / (np.count_nonzero(sizes) * sizes[members]))
