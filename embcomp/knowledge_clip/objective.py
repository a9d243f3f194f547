"""The three terms of Knowledge-CLIP."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.errors import ConfigError, choose
from embcomp.losses import contrastive_loss, prototype_logits
from embcomp.transfer.clusters import ConceptClassifier, Concepts

SHARPEST = 100.0  # the largest factor on the cosines, as in CLIP


@dataclass(frozen=True)
class KnowledgeClipConfig:
    """Weights and sizes of the objective."""

    alpha: float = 1.0  # of the text encoder's distance from the text teacher
    beta: float = 0.01  # of the concepts
    gamma: float = 1.0  # of the contrast
    temperature: float = 0.07  # of the contrast, at the start; it is learned
    concepts: int = 16  # k-means clusters of the captions
    concept_labels: str = "soft"  # or hard
    reduction: str = "mean"  # over the captions of a batch, of the squared distance; or sum, as written in the paper


class Objective(nn.Module):
    """``L = alpha L_emb + beta L_conc + gamma L_cont`` (Kao 2024, arXiv 2412.03513).

    The paper states the weights, 1, 0.01 and 1; that L_emb is ``sum_i |E_T(c_i) W_e - teacher(c_i)|^2``
    with a learned linear W_e; that L_conc reads the k-means cluster of the teacher's vector of the caption off the
    image embedding, through a classifier trained on the teacher's vectors and frozen; and that L_cont is
    CLIP's. Batch size, number of clusters and temperature were not found. We take means over the batch in all
    three terms, which leaves their ratios as all sums would; ``reduction="sum"`` sums L_emb alone. How the
    classifier takes vectors of two widths is ours, see `ConceptClassifier`.

    Parameters
    ----------
    config : KnowledgeClipConfig
        A weight of 0 leaves its term out.
    vectors : ndarray of shape (m, dim)
        Of the text teacher, one for each caption.
    width : int
        Of the space that audio and text share.
    seed : int
        Of clusters and classifier.

    Raises
    ------
    ConfigError
        A weight is negative, the temperature not positive, or there are more concepts than captions.
    """

    def __init__(self, config: KnowledgeClipConfig, vectors: np.ndarray, width: int, seed: int = 0):
        super().__init__()
        for name in ("alpha", "beta", "gamma"):
            if not 0 <= getattr(config, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0 and finite, not {getattr(config, name)}")
        if not config.alpha + config.beta + config.gamma:
            raise ConfigError("alpha, beta and gamma are all 0; there is nothing to learn")
        if not 1 / SHARPEST <= config.temperature < math.inf:
            raise ConfigError(f"temperature must be at least {1 / SHARPEST:g}, not {config.temperature}")
        self.config = config
        self.reduce = choose("reduction", config.reduction, {"mean": torch.mean, "sum": torch.sum})
        found = Concepts.find(vectors, config.concepts, seed, "concepts")
        shares = found.shares(vectors, config.concept_labels)
        self.register_buffer("vectors", torch.from_numpy(np.array(vectors, dtype=np.float32)))
        self.register_buffer("shares", shares)
        self.register_buffer("concept", found.shares(vectors, "hard").argmax(1))
        self.classifier = ConceptClassifier.fit(vectors, shares, width, seed)
        self.lift = nn.Linear(width, self.vectors.shape[1], bias=False)
        self.sharpness = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    @property
    def temperature(self) -> Tensor:
        """What divides the cosines, a scalar."""
        return (-self.sharpness).exp()

    @torch.no_grad()
    def limit(self) -> None:
        """Keep the temperature from falling too low; to be called after each step."""
        self.sharpness.clamp_(max=math.log(SHARPEST))

    def forward(self, audio: Tensor, text: Tensor, drawn: Tensor, matches: Tensor) -> dict[str, Tensor]:
        """Named terms, weighted.

        Parameters
        ----------
        audio : Tensor of shape (n, width)
            Embeddings of clips.
        text : Tensor of shape (n, width)
            Of the caption drawn for each.
        drawn : Tensor of int64 of shape (n,)
            Number of that caption.
        matches : Tensor of shape (n, m)
            Whether each of all captions is one of the clip. In CLIP only the pair itself is; here a caption
            drawn for one clip is also the partner of the others that it describes.

        Returns
        -------
        dict of str to Tensor
            Of ``embedding``, ``concept``, ``contrast`` those with a weight.
        """
        config, terms = self.config, {}
        if config.alpha:
            squared = (self.lift(text) - self.vectors[drawn]).square().sum(1)
            terms["embedding"] = config.alpha * self.reduce(squared)
        if config.beta:
            terms["concept"] = config.beta * self.classifier.loss(audio, self.shares[drawn])
        if config.gamma:
            logits = prototype_logits(audio, text, self.temperature)
            terms["contrast"] = config.gamma * contrastive_loss(logits, matches[:, drawn].float())
        return terms
