"""Losses on how the clips of a batch lie to each other, so that the two widths may differ."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from embcomp.errors import DataError

FLOOR = 1e-12  # added to squared distances, whose root has no finite slope at zero


def distance_correlation(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the squared distance correlation of two sets of vectors.

    Compares the n x n distances inside the batch, so the widths may differ and
    no projection is needed. The form of Ding & Lerch 2023 (EAsT, arXiv
    2306.17424): the biased V-statistic without the outer square root, vectors
    not normalised. Invariant to orthogonal maps, shifts and scaling of either side.

    Parameters
    ----------
    student : Tensor of shape (n, c) or (n, t, c)
        Frames, if any, are compared one by one and averaged.
    teacher : Tensor of shape (n, d) or (n, t, d)

    Returns
    -------
    Tensor, a scalar in [0, 1]

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(float(distance_correlation(x, 2 * x)), 4)
    0.0
    """
    vectors = [_frames_first(one) for one in (student, teacher)]
    if vectors[0].shape[:-1] != vectors[1].shape[:-1]:
        raise DataError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have the same clips and frames"
        )
    dtype = torch.promote_types(student.dtype, teacher.dtype)
    apart: Tensor = _DistanceCorrelation.apply(*(one.to(dtype) for one in vectors))  # type: ignore[no-untyped-call]
    return apart.mean()


class _DistanceCorrelation(torch.autograd.Function):
    """From vectors (..., n, c) and (..., n, d) to one minus their squared distance correlation (...).

    As one node, its gradient takes a few passes over the n x n distances: centring is a projection that leaves centred
    matrices alone, so that the gradient with respect to the distances is a sum of those that the statistic is made of.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        (a, a_distances), (b, b_distances) = (_centred_distances(one) for one in (student, teacher))
        size = a.shape[-1] ** 2
        together, a_variance, b_variance = (_dot(x, y) / size for x, y in ((a, b), (a, a), (b, b)))
        scale = (a_variance * b_variance + 1e-9).sqrt()
        ctx.save_for_backward(student, teacher, a, b, a_distances, b_distances, together, a_variance, b_variance, scale)
        return 1.0 - together / scale

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        student, teacher, a, b, a_distances, b_distances, together, a_variance, b_variance, scale = ctx.saved_tensors
        cross, own = gradient / scale, gradient * together / scale**3
        found: list[Tensor | None] = [None, None]
        if ctx.needs_input_grad[0]:
            found[0] = _to_vectors(own * b_variance, a, cross, b, a_distances, student)
        if ctx.needs_input_grad[1]:
            found[1] = _to_vectors(own * a_variance, b, cross, a, b_distances, teacher)
        return found[0], found[1]


def _to_vectors(own: Tensor, a: Tensor, cross: Tensor, b: Tensor, distances: Tensor, vectors: Tensor) -> Tensor:
    """The gradient ``(own * a - cross * b) / n^2`` with respect to distances, carried on to the vectors."""
    size = a.shape[-1] ** 2
    pull = torch.addcmul(a * (own / size)[..., None, None], b, (cross / size)[..., None, None], value=-1)
    # Of equal vectors the distance has no gradient: there it is the square root of FLOOR.
    pull = pull.div_(F.threshold(distances, 1.001 * FLOOR**0.5, torch.inf))
    # A squared distance counts twice, from either side.
    return 2 * (pull.sum(-1, keepdim=True) * vectors - pull @ vectors)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the products of two matrices (..., n, n), entry by entry."""
    return torch.linalg.vecdot(a.flatten(-2), b.flatten(-2))


def _centred_distances(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of vectors (..., n, dim), with the means of rows and columns taken off, and as they are."""
    centred = vectors - vectors.mean(-2, keepdim=True)
    norms = centred.square().sum(-1, keepdim=True)
    sums = norms + norms.transpose(-2, -1)
    # What is left of equal vectors is rounding, whose square root would have a huge gradient.
    sums -= 16 * torch.finfo(sums.dtype).eps * sums.amax()
    # By way of inner products: the differences themselves would fill n x n x dim numbers.
    squared = sums.sub_(centred @ centred.transpose(-2, -1), alpha=2)
    distances = squared.clamp_(min=0).add_(FLOOR).sqrt_()
    # Symmetric, so the means over rows are those over columns.
    rows = distances.mean(-1, keepdim=True)
    half = rows - rows.mean(-2, keepdim=True) / 2
    return (distances - half).sub_(half.transpose(-2, -1)), distances


def _frames_first(vectors: Tensor) -> Tensor:
    if vectors.dim() not in (2, 3):
        raise DataError(f"expected (n, dim) or (n, t, dim), got {tuple(vectors.shape)}")
    return vectors.transpose(0, 1) if vectors.dim() == 3 else vectors


def cosine_distance_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of the two sets' pairwise cosines.

    Over all n x n pairs, the zero diagonal included (Ding & Lerch 2023, arXiv
    2306.17424). Invariant to orthogonal maps and to the scale of each vector.

    Parameters
    ----------
    student : Tensor of shape (n, c) or (n, t, c)
    teacher : Tensor of shape (n, d) or (n, t, d)

    Returns
    -------
    Tensor, a scalar in [0, 2]
    """
    a, b = (F.normalize(_frames_first(vectors), dim=-1) for vectors in (student, teacher))
    a, b = a @ a.transpose(-2, -1), b @ b.transpose(-2, -1)
    if a.shape != b.shape:
        raise DataError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have the same clips and frames"
        )
    return (a - b).abs().mean()


def time_shares(frames: Tensor, count: int) -> Tensor:
    """Means of each clip's valid frames over equal shares of its time.

    A frame that reaches into two shares counts in both by how much of it lies there, so that the mean of
    the shares is that of the frames. Where there are fewer frames than shares they are repeated.

    Parameters
    ----------
    frames : Tensor of shape (n, t, c)
        Zero from the end of a clip on; a clip ends after its last frame that is not.
    count : int

    Returns
    -------
    Tensor of shape (n, count, c)

    Examples
    --------
    >>> time_shares(torch.tensor([[[1.0], [2.0], [6.0], [0.0]]]), 2).flatten().tolist()
    [1.3333333730697632, 4.666666507720947]
    """
    place = torch.arange(frames.shape[1], device=frames.device)
    ends = ((frames.detach() != 0).any(2) * (place + 1)).amax(1).clamp(min=1).view(-1, 1, 1)
    first = torch.arange(count, device=frames.device).view(1, -1, 1) * ends / count
    overlap = torch.minimum(first + ends / count, place + 1) - torch.maximum(first, place)
    return (overlap.clamp(min=0) * (count / ends)).to(frames.dtype) @ frames


def align_frames(
    student: Tensor, teacher: Tensor, student_repeat: int = 1, teacher_repeat: int = 1
) -> tuple[Tensor, Tensor]:
    """Bring two sequences to one frame rate, as EAsT does (arXiv 2306.17424, section 3).

    Each is repeated along time by its integer factor and both are cut to the
    shorter. A factor of -1 averages over time: one vector per clip.

    Parameters
    ----------
    student : Tensor of shape (n, t_s, c)
    teacher : Tensor of shape (n, t_t, d)
    student_repeat, teacher_repeat : int, default=1

    Returns
    -------
    student : Tensor of shape (n, t, c)
    teacher : Tensor of shape (n, t, d)
    """

    def repeated(frames: Tensor, factor: int) -> Tensor:
        if factor == -1:
            return frames.mean(dim=1, keepdim=True)
        if factor < 1:
            raise DataError(f"a repeat factor is a positive whole number, or -1 for the time average; not {factor}")
        return frames.repeat_interleave(factor, dim=1)

    student, teacher = repeated(student, student_repeat), repeated(teacher, teacher_repeat)
    frames = min(student.shape[1], teacher.shape[1])
    return student[:, :frames], teacher[:, :frames]
