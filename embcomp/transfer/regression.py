"""Regression: the student's embedding predicts the teacher's, vector by vector."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.errors import choose
from embcomp.losses import REGRESSIONS
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer


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

    Parameters
    ----------
    weight : float in [0, 1]
    head : {"linear", "mlp"}
    distance : {"cosine", "mse", "l1", "kl"}
        See `embcomp.losses.REGRESSIONS`; all but the cosine depend on the scale of the targets.
    clusters : int, default=0
        Part the targets by k-means and draw every cluster equally often (S-SONDO took 50),
        instead of every class; 0 leaves drawing to the loop.
    """

    def __init__(
        self,
        weight: float = 0.5,
        head: str = "linear",
        distance: str = "cosine",
        clusters: int = 0,
        multi_label: bool = False,
    ):
        super().__init__(multi_label)
        self.weight, self.clusters = weight, clusters
        self.make_head = choose("head", head, HEADS)
        self.distance = choose("regression distance", distance, REGRESSIONS)
        self.drawn: Tensor | None = None

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        super().prepare(targets, labels, manifest, width)
        self.head = self.make_head(width, self.targets.shape[1])
        if self.clusters:
            self.drawn = cluster_balanced(self.targets.numpy(), self.clusters)

    def sampling_weights(self) -> Tensor | None:
        return self.drawn

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        distance = self.distance(self.head(output.embedding.float()), self.target_of(batch))
        return {"prediction": (1 - self.weight) * self.prediction(output, batch), "distance": self.weight * distance}


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
