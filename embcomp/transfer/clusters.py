"""Concepts: clusters of a teacher's embeddings, and the frozen classifier that another network is trained through.

Concept learning of Knowledge-CLIP (Kao 2024, arXiv 2412.03513), which worked on images and captions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.errors import ConfigError, DataError, choose

BATCH, STEPS, LEARNING_RATE = 256, 100, 1e-2  # of the classifier; linear, so it needs little


@dataclass(frozen=True)
class Concepts:
    """Clusters of the vectors of a teacher.

    Attributes
    ----------
    centres : Tensor of shape (concepts, dim)
    margin : float
        By how much the squared distance to the nearest centre is smaller than to a centre on average,
        mean over the vectors they were found in.
    """

    centres: Tensor
    margin: float

    @classmethod
    def find(cls, vectors: np.ndarray, count: int, seed: int = 0, key: str = "transfer.concepts") -> Concepts:
        """Part vectors by k-means.

        The paper clusters its teacher's caption embeddings once, beforehand; how many clusters
        it took is not known to us.

        Parameters
        ----------
        vectors : ndarray of shape (n, dim)
        count : int
            How many clusters, at most n. Where fewer vectors differ, each has its own.
        seed : int, default=0
        key : str
            The setting that `count` comes from, for the message.

        Raises
        ------
        ConfigError
            More clusters than vectors, or fewer than two.
        DataError
            A vector is not finite.
        """
        from sklearn.cluster import MiniBatchKMeans

        vectors = np.asarray(vectors, dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise DataError("a vector to find concepts in holds NaN or infinity; embed its clip again")
        if not 2 <= count <= len(vectors):
            raise ConfigError(f"{key} is {count}; {len(vectors)} vectors have between 2 and {len(vectors)} concepts")
        with warnings.catch_warnings():
            # Of equal vectors k-means says that it found fewer clusters; they are left out below.
            warnings.filterwarnings("ignore", message="Number of distinct clusters")
            model = MiniBatchKMeans(count, n_init=1, max_iter=20, random_state=seed).fit(vectors)
        centres = torch.from_numpy(model.cluster_centers_[np.unique(model.labels_)])
        squared = _squared(torch.from_numpy(vectors), centres)
        return cls(centres, float((squared.mean(1) - squared.amin(1)).mean()))

    def shares(self, vectors: np.ndarray | Tensor, labels: str = "soft", temperature: float = 0.1) -> Tensor:
        """Concept label of each vector.

        The paper calls its labels soft and writes them as one category per pair; both readings
        are here, and the form of the soft one is ours: ``softmax_k(-|v - c_k|^2 / (temperature * margin))``.

        Parameters
        ----------
        vectors : array of shape (n, dim)
        labels : {"soft", "hard"}
            Hard is 1 for the nearest centre and 0 for the others.
        temperature : float > 0, default=0.1
            In units of `margin`, so that neither the scale of the vectors nor directions that
            tell no centres apart matter: a centre of average distance has ``exp(-1 / temperature)``
            of the nearest one's share.

        Returns
        -------
        Tensor of float32 of shape (n, concepts), rows summing to 1
        """
        make = choose("concept labels", labels, {"soft": _soft, "hard": _hard})
        vectors = torch.as_tensor(vectors, dtype=torch.float32)
        return make(_squared(vectors, self.centres), temperature * self.margin)


def _squared(vectors: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (n, concepts), less what they have in common in a row."""
    origin = centres.mean(0)
    centres = centres - origin
    return centres.square().sum(1) - 2 * (vectors - origin) @ centres.T


def _soft(squared: Tensor, scale: float) -> Tensor:
    # Of a single centre there is no margin, and one label.
    return (-squared / scale).softmax(1) if scale > 0 else _hard(squared, scale)


def _hard(squared: Tensor, _: float) -> Tensor:
    return F.one_hot(squared.argmin(1), squared.shape[1]).float()


class ConceptClassifier(nn.Module):
    """Concepts from an embedding: trained on the teacher's, frozen, then applied to the student's.

    The paper trains a classifier C on (teacher embedding, concept), freezes it, and trains the other
    encoder through it. How C takes embeddings of two widths was not found. Our reading: C is
    linear on the student's width, and a linear map brings the teacher's standardised vectors there; both are
    trained together, and frozen together. They are buffers: no optimiser gets them.

    Parameters
    ----------
    dim : int
        Width of the teacher's vectors.
    width : int
        Of the student's embedding.
    concepts : int

    Shape
    -----
    ``(n, width)`` to logits ``(n, concepts)``.
    """

    def __init__(self, dim: int, width: int, concepts: int):
        super().__init__()
        shapes = {"mean": (dim,), "map": (width, dim), "weight": (concepts, width), "bias": (concepts,)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    @classmethod
    def fit(cls, vectors: np.ndarray | Tensor, shares: Tensor, width: int, seed: int = 0) -> ConceptClassifier:
        """Train C and the map by cross-entropy with `shares` (n, concepts), on vectors (n, dim); then freeze."""
        vectors = torch.as_tensor(vectors, dtype=torch.float32)
        mean, deviation = vectors.mean(0), vectors.std(0, correction=0)
        # What never varies is rounding once centred; it must not be blown up.
        scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, torch.inf)
        rows = (vectors - mean) / scale
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            carry = nn.Linear(rows.shape[1], width, bias=False)
            classify = nn.Linear(width, shares.shape[1])
            optimiser = torch.optim.Adam([*carry.parameters(), *classify.parameters()], lr=LEARNING_RATE)
            for _ in range(STEPS):
                drawn = torch.randint(len(rows), (BATCH,)) if len(rows) > BATCH else slice(None)
                loss = F.cross_entropy(classify(carry(rows[drawn])), shares[drawn])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        frozen = cls(rows.shape[1], width, shares.shape[1])
        values = {"mean": mean, "map": carry.weight / scale, "weight": classify.weight, "bias": classify.bias}
        for name, value in values.items():
            getattr(frozen, name).copy_(value.detach())
        return frozen

    def forward(self, embedding: Tensor) -> Tensor:
        return F.linear(embedding, self.weight, self.bias)

    def of_teacher(self, vectors: np.ndarray | Tensor) -> Tensor:
        """Logits (n, concepts) of the teacher's own vectors (n, dim)."""
        vectors = torch.as_tensor(vectors, dtype=torch.float32)
        return self(F.linear(vectors - self.mean, self.map))

    def loss(self, embedding: Tensor, shares: Tensor) -> Tensor:
        """Cross-entropy ``-mean_j sum_k s_jk log C(e_j)_k``, a scalar; the paper sums over the batch.

        Parameters
        ----------
        embedding : Tensor of shape (n, width)
        shares : Tensor of shape (n, concepts)
        """
        return F.cross_entropy(self(embedding), shares)
