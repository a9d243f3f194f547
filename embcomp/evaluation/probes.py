"""Probes: simple classifiers on frozen vectors, and the floor under every table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.errors import choose
from embcomp.learning import Logistic
from embcomp.students import StudentOutput, frame_mask

Predict = Callable[..., np.ndarray]


def linear_probe(vectors: np.ndarray, labels: Labels) -> Predict:
    """Logistic regression on standardised vectors; fitted on the rows given and nothing else.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
    labels : Labels
        Every clip has one, and not every class need occur. Several labels a clip: one regression per class,
        on the clips for which that class is known.

    Returns
    -------
    callable
        Vectors (m, dim) to probabilities (m, classes). A second argument, unlabelled vectors (k, dim), has
        them standardised by its mean and deviation instead of the training rows'; the regression is the same.
    """
    targets = labels.matrix if labels.multi_label else labels.index
    return _on_standardised(vectors, lambda rows: Logistic(rows, targets, len(labels.classes)).probabilities)


def knn_probe(vectors: np.ndarray, labels: Labels, neighbours: int = 5) -> Predict:
    """Labels of the nearest training clips, by cosine of standardised vectors.

    A probe without anything learned but the standardisation: it says how the space is laid out, not what a
    hyperplane can get out of it. Neighbours count by the inverse of their cosine distance, which mainly decides ties;
    standardised, since a cosine of vectors far from the origin is near 1 for all.

    Parameters
    ----------
    vectors, labels
        As for `linear_probe`. A neighbour for which a class is unknown says nothing about that class.
    neighbours : int, default=5
        All clips where there are fewer.

    Returns
    -------
    callable
        As of `linear_probe`.
    """
    return _on_standardised(vectors, lambda rows: _neighbours(rows, labels.matrix, min(neighbours, len(rows))))


def prior_probe(vectors: np.ndarray, labels: Labels) -> Predict:
    """The classes' shares of the training clips, whatever the vector: its balanced accuracy is chance."""
    shares = np.nanmean(labels.matrix, axis=0, dtype=np.float64).astype(np.float32)
    return lambda rows, standardise_on=None: np.tile(shares, (len(rows), 1))


PROBES = {"probe": linear_probe, "k-NN": knn_probe, "majority": prior_probe}


def fit_probe(kind: str, vectors: np.ndarray, labels: Labels) -> Predict:
    """The probe called `kind` in `PROBES`, fitted on the clips that have a label."""
    known = labels.labelled
    return choose("probe", kind, PROBES)(vectors[known], labels.select(known))


def frame_statistics(features: Tensor, lengths: Tensor) -> np.ndarray:
    """Mean and deviation of each band over a clip's valid frames: the vector of the log-mel probe.

    Parameters
    ----------
    features : Tensor of shape (n, n_mels, frames)
    lengths : Tensor of shape (n,)

    Returns
    -------
    ndarray of shape (n, 2 * n_mels), float32
    """
    mask = frame_mask(lengths, features.shape[-1]).unsqueeze(1)
    count = mask.sum(-1)
    mean = (features * mask).sum(-1) / count
    variance = ((features - mean.unsqueeze(-1)).square() * mask).sum(-1) / count
    return torch.cat([mean, variance.sqrt()], dim=1).numpy()


class EmbeddingOf(nn.Module):
    """A student whose logits are its embedding, for `embcomp.students.inference.predict_logits`."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, lengths: Tensor) -> StudentOutput:
        output = self.network(features, lengths)
        return output._replace(logits=output.embedding)


def _on_standardised(vectors: np.ndarray, fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]) -> Predict:
    own = StandardScaler().fit(vectors)
    predict = fit(own.transform(vectors))

    def standardise_and_predict(rows: np.ndarray, standardise_on: np.ndarray | None = None) -> np.ndarray:
        scaler = own if standardise_on is None else StandardScaler().fit(standardise_on)
        return predict(scaler.transform(rows))

    return standardise_and_predict


def _neighbours(vectors: np.ndarray, matrix: np.ndarray, count: int):
    model = NearestNeighbors(n_neighbors=count, metric="cosine").fit(vectors)
    known, values = ~np.isnan(matrix), np.nan_to_num(matrix)
    shares = values.sum(0) / np.maximum(known.sum(0), 1)

    def predict(rows: np.ndarray) -> np.ndarray:
        distances, nearest = model.kneighbors(rows)
        weights = 1 / np.maximum(distances, 1e-9)[..., None]
        mass = (weights * known[nearest]).sum(1)
        found = (weights * known[nearest] * values[nearest]).sum(1)
        return np.where(mass > 0, found / np.maximum(mass, 1e-30), shares).astype(np.float32)

    return predict
