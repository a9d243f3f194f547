"""Losses between a vector and its target of the same width."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from embcomp.errors import DataError


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of one minus the cosine of each pair of vectors, both (n, d) or (n, t, d); a scalar in [0, 2].

    The direct distance: it needs equal widths. The default of student-side
    regression in S-SONDO (El Adlouni et al. 2026, arXiv 2604.24933).
    """
    if student.shape != teacher.shape:
        raise DataError(
            f"a direct cosine needs equal widths, not {tuple(student.shape)} and {tuple(teacher.shape)}; "
            "set compressor.dim to the student's embedding width, or use distance_correlation"
        )
    return (1.0 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def softmax_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over clips of KL(softmax(teacher) || softmax(student)) over the dimensions of a vector.

    Blind to a constant added to every dimension of a vector. That the "KL" row of S-SONDO's
    comparison of losses (arXiv 2604.24933) is this form is our reading.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, d)

    Returns
    -------
    Tensor, a scalar of at least 0
    """
    return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


REGRESSIONS = {"cosine": cosine_distance, "mse": F.mse_loss, "l1": F.l1_loss, "kl": softmax_divergence}
