"""The task loss: what a classifier's scores cost, on known labels only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def prediction_loss(logits: Tensor, labels: Tensor, multi_label: bool, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of one label a row, or binary cross-entropy of several.

    Parameters
    ----------
    logits : Tensor of shape (n, classes)
    labels : Tensor of shape (n, classes) or (n,)
        A matrix: 1 applies, 0 does not, in between for mixed clips, NaN unknown; a row whose every label is NaN has
        none. Or, with one label a row, the classes as int64, -1 for none, where a matrix would be large.
    multi_label : bool
        Binary cross-entropy per class (EAsT) if so, else cross-entropy.
    class_weights : Tensor of shape (classes,), optional
        With one label a row, every row weighs as its class, in the sum and in what divides it; with several, only
        the labels that apply are weighed.

    Returns
    -------
    Tensor, a scalar; 0 where no label is known
    """
    if labels.ndim == 1:
        known = labels >= 0
        if not known.any():
            return logits.sum() * 0
        return F.cross_entropy(logits[known], labels[known], weight=class_weights)
    known, filled = ~labels.isnan(), labels.nan_to_num()
    if multi_label:
        per_label = F.binary_cross_entropy_with_logits(logits, filled, reduction="none", pos_weight=class_weights)
        return (per_label * known).sum() / known.sum().clamp(min=1)
    rows = known.all(dim=1)
    per_row = F.cross_entropy(logits, filled, weight=class_weights, reduction="none")
    if class_weights is None:
        return (per_row * rows).sum() / rows.sum().clamp(min=1)
    mass = ((filled @ class_weights) * rows).sum()
    return (per_row * rows).sum() / mass.where(mass > 0, 1.0)
