"""Contrastive losses: an embedding must lie closer to its own partner than to the others'."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from embcomp.errors import DataError
from embcomp.losses.prediction import prediction_loss


def prototype_logits(student: Tensor, prototypes: Tensor, temperature: float = 1.0) -> Tensor:
    """Cosine of every student embedding with every prototype, divided by a temperature.

    Nair 2024 (CLIP-Embed-KD, arXiv 2404.06170) compares with projected class means, or with the
    projected embeddings of the batch, and divides by nothing; CLIP (Radford et al. 2021, arXiv
    2103.00020, section 2.5) starts from a temperature of 0.07.

    Parameters
    ----------
    student : Tensor of shape (n, width)
    prototypes : Tensor of shape (m, width)
    temperature : float > 0, default=1.0

    Returns
    -------
    Tensor of shape (n, m), in [-1, 1] / temperature

    Raises
    ------
    DataError
        The widths differ.
    """
    if student.shape[-1] != prototypes.shape[-1]:
        raise DataError(
            f"student embeddings of width {student.shape[-1]} cannot be compared with prototypes of width "
            f"{prototypes.shape[-1]}; project one to the other"
        )
    return F.normalize(student, dim=-1) @ F.normalize(prototypes, dim=-1).T / temperature


def contrastive_loss(logits: Tensor, matches: Tensor, symmetric: bool = True) -> Tensor:
    """Cross-entropy of finding a row's partners among the columns, and the other way round.

    One direction with one partner each is the loss of Nair 2024 (arXiv 2404.06170); both
    directions, averaged, is that of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3).
    Several partners share the target equally.

    Parameters
    ----------
    logits : Tensor of shape (n, m)
    matches : Tensor of shape (n, m)
        1 for partners, 0 for others, NaN for pairs of which nothing is known: they are
        compared in neither direction. A row or column without a partner adds nothing.
    symmetric : bool, default=True
        Also look for a column's partners among the rows.

    Returns
    -------
    Tensor, a scalar of at least 0; 0 where nothing has a partner

    Raises
    ------
    DataError
        The shapes differ.

    Examples
    --------
    >>> round(float(contrastive_loss(torch.zeros(2, 4), torch.eye(2, 4), symmetric=False)), 4)
    1.3863
    """
    if logits.shape != matches.shape:
        raise DataError(f"logits {tuple(logits.shape)} and matches {tuple(matches.shape)} must be of the same pairs")
    if not symmetric:
        return _one_direction(logits, matches)
    return (_one_direction(logits, matches) + _one_direction(logits.T, matches.T)) / 2


def _one_direction(logits: Tensor, matches: Tensor) -> Tensor:
    partners = matches.nan_to_num()
    counts = partners.sum(1)
    # The rows that say nothing are taken out first: a logsumexp over no pair at all has no gradient.
    rows = counts > 0
    partners = partners[rows] / counts[rows].unsqueeze(1)
    known = logits[rows].masked_fill(matches[rows].isnan(), -torch.inf)
    per_row = known.logsumexp(1) - (partners * logits[rows]).sum(1)
    return per_row.sum() / rows.sum().clamp(min=1)


def softmax_twice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The task loss as the published code of CLIP-Embed-KD has it: cross-entropy on probabilities.

    The class head applies a softmax and its result enters a cross-entropy, which applies another
    (Nair 2024, arXiv 2404.06170). It cannot fall below ``log(1 + (classes - 1) / e)``; it is here to
    compare with that work.

    Parameters
    ----------
    logits, labels : Tensor
        As in `prediction_loss`, one label per clip.

    Returns
    -------
    Tensor, a scalar; 0 where no label is known
    """
    return prediction_loss(logits.softmax(1), labels, multi_label=False)
