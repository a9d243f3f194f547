"""How well clips and texts find each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from embcomp.errors import DataError
from embcomp.losses import prototype_logits


def retrieval(audio: Tensor, text: Tensor, matches: np.ndarray, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Recall at k in both directions: how often a partner is among the k nearest by cosine.

    Of equal cosines a partner comes last, so that embeddings that are all alike find nothing.

    Parameters
    ----------
    audio : Tensor of shape (n, width)
    text : Tensor of shape (m, width)
    matches : ndarray of bool of shape (n, m)
        Partners. What has none is not asked for; it is still compared with the others.
    ranks : sequence of int
        The k's. A k that is at least as many as there are to choose from gives 1.

    Returns
    -------
    dict of str to float
        ``audio_to_text_recall@k`` and ``text_to_audio_recall@k``; NaN where nothing has a partner.

    Raises
    ------
    DataError
        `matches` does not fit.
    """
    if matches.shape != (len(audio), len(text)):
        raise DataError(f"matches {matches.shape} must be of {len(audio)} clips and {len(text)} texts")
    cosines = prototype_logits(audio.double(), text.double())
    partners = torch.from_numpy(np.asarray(matches, dtype=bool))
    found = {}
    for name, scores, of_row in (("audio_to_text", cosines, partners), ("text_to_audio", cosines.T, partners.T)):
        asked = of_row.any(1)
        best = scores.masked_fill(~of_row, -torch.inf).amax(1, keepdim=True)
        before = ((scores >= best) & ~of_row).sum(1)[asked]
        for k in ranks:
            found[f"{name}_recall@{k}"] = float((before < k).double().mean())
    return found


def concept_accuracy(objective, audio: Tensor, matches: np.ndarray) -> float:
    """Share of clips whose concept, by the frozen classifier, is that of one of their captions.

    Where one concept holds a caption of every clip, always answering it scores 1: compare with a model
    that was trained without L_conc.

    Parameters
    ----------
    objective : Objective
    audio : Tensor of shape (n, width)
    matches : ndarray of bool of shape (n, m)
        Which of the captions that the objective was made with each clip has.
    """
    recognised = objective.classifier(audio).argmax(1).numpy()
    named = objective.concept.numpy()
    return float(((named[None] == recognised[:, None]) & matches).any(1).mean())
