"""Knowledge distillation: the teacher's class scores, softened, in place of labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from embcomp.errors import DataError


def binary_kd(student_scores: Tensor, teacher_scores: Tensor, tau: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """KL divergence of the student's class probabilities from the teacher's, each class on its own.

    ``tau^2 * mean KL(Bernoulli(sigmoid(teacher / tau)) || Bernoulli(sigmoid(student / tau)))``,
    the soft-label term of Ding & Lerch 2023 (EAsT-KD, arXiv 2306.17424) after Hinton et al.
    2015 (arXiv 1503.02531, section 2); tau^2 keeps the gradient's size when tau changes.

    Parameters
    ----------
    student_scores, teacher_scores : Tensor of shape (n, classes)
        Before the sigmoid.
    tau : float > 0, default=2.0
        Temperature.
    mask : Tensor of bool of shape (n, classes), optional
        Scores that count; by default all.

    Returns
    -------
    Tensor, a scalar of at least 0; 0 where nothing counts

    Raises
    ------
    DataError
        The shapes differ.

    Examples
    --------
    >>> scores = torch.tensor([[0.5, -2.0]])
    >>> float(binary_kd(scores, scores))
    0.0
    """
    _check(student_scores, teacher_scores)
    student, teacher = student_scores / tau, teacher_scores / tau
    # Differences of log-probabilities; a log of a difference would lose the tails.
    applies, not_applies = (F.logsigmoid(sign * teacher) - F.logsigmoid(sign * student) for sign in (1, -1))
    divergence = teacher.sigmoid() * applies + (-teacher).sigmoid() * not_applies
    return _mean(divergence, mask) * tau**2


def multiclass_kd(
    student_scores: Tensor, teacher_scores: Tensor, tau: float = 2.0, mask: Tensor | None = None
) -> Tensor:
    """KL divergence of the student's class distribution from the teacher's, times tau^2.

    ``tau^2 * mean KL(softmax(teacher / tau) || softmax(student / tau))``, Hinton et al. 2015
    (arXiv 1503.02531, section 2), for clips with one label.

    Parameters
    ----------
    student_scores, teacher_scores : Tensor of shape (n, classes)
        Before the softmax; a constant added to a row changes nothing.
    tau : float > 0, default=2.0
    mask : Tensor of bool of shape (n,), optional
        Clips that count; by default all.

    Returns
    -------
    Tensor, a scalar of at least 0; 0 where nothing counts

    Raises
    ------
    DataError
        The shapes differ.
    """
    _check(student_scores, teacher_scores)
    student, teacher = (student_scores / tau).log_softmax(1), (teacher_scores / tau).log_softmax(1)
    divergence = (teacher.exp() * (teacher - student)).sum(1)
    return _mean(divergence, mask) * tau**2


def _mean(divergence: Tensor, mask: Tensor | None) -> Tensor:
    """Over what counts; 0 where nothing does."""
    return divergence.mean() if mask is None else (divergence * mask).sum() / mask.sum().clamp(min=1)


def _check(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise DataError(
            f"student scores {tuple(student.shape)} and teacher scores {tuple(teacher.shape)} must be of the same clips and classes"
        )
