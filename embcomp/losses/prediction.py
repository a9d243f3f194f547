"""The student's own task loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def prediction_loss(logits: Tensor, labels: Tensor, multi_label: bool) -> Tensor:
    """The student's own task loss, on known labels only.

    Parameters
    ----------
    logits : Tensor of shape (n, classes)
    labels : Tensor of shape (n, classes)
        1 applies, 0 does not, NaN unknown; a clip whose every label is NaN has none.
    multi_label : bool
        Binary cross-entropy per class (EAsT) if so, else cross-entropy.

    Returns
    -------
    Tensor, a scalar; 0 where no label is known
    """
    known = ~labels.isnan()
    if multi_label:
        per_label = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
        return (per_label * known).sum() / known.sum().clamp(min=1)
    rows = known.all(dim=1)
    per_clip = F.cross_entropy(logits, labels.nan_to_num(), reduction="none")
    return (per_clip * rows).sum() / rows.sum().clamp(min=1)
