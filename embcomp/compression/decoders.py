"""From target back to embedding, for all of the code or any prefix of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from embcomp.compression.closed_form import solve_decoder
from embcomp.compression.frame import Frame
from embcomp.compression.modules import (
    CompressorModule,
    LinearCompressor,
    MLPCompressor,
    blank,
    fold_input,
    fold_output,
)
from embcomp.compression.problem import Problem, Solution
from embcomp.compression.rows import Rows, block_rows
from embcomp.errors import ArtifactError, DataError


@dataclass
class Decoders:
    """The decoder in use, and the sums that give the least-squares one of any prefix.

    Attributes
    ----------
    cross : ndarray of shape (dim, d)
        Covariance of framed rows with codes.
    gram : ndarray of shape (d, d)
        Covariance of the codes.
    code_mean : ndarray of shape (d,)
        Of the codes as the folded module gives them.
    mean, scale : ndarray of shape (dim,)
        The frame, to return to raw embeddings.
    total : float
        Variance of the framed rows.
    module : CompressorModule or None
        ``(*, d) -> (*, dim)``; None until the encoder is folded.
    trained : bool
        Whether `module` was trained, or is least squares.
    """

    cross: np.ndarray
    gram: np.ndarray
    code_mean: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    total: float
    module: CompressorModule | None = None
    trained: bool = False

    @property
    def component_variance(self) -> np.ndarray:
        return np.clip(np.diag(self.gram), 0, None)

    @cached_property
    def retained_variance(self) -> np.ndarray:
        """Share of the variance that the first k components give back, shape ``(d,)``, non-decreasing."""
        # Cholesky's factor takes from each code what those before it already explain.
        scale = np.sqrt(self.component_variance)
        inverse = np.where(scale > 1e-6 * scale.max(), 1 / np.maximum(scale, 1e-300), 0.0)
        lower = _cholesky(inverse[:, None] * self.gram * inverse)
        fresh = scipy.linalg.solve_triangular(lower, (self.cross * inverse).T, lower=True, check_finite=False)
        return np.minimum(np.cumsum((fresh**2).sum(axis=1)) / self.total, 1.0)

    def least_squares(self) -> LinearCompressor:
        """Linear decoder from raw codes to raw embeddings."""
        back = solve_decoder(self.cross, self.gram) * self.scale[:, None]
        return LinearCompressor.from_affine(torch.from_numpy(back), torch.from_numpy(self.mean - back @ self.code_mean))

    @property
    def in_use(self) -> CompressorModule:
        """The module, which there is once the encoder is folded."""
        if self.module is None:
            raise ArtifactError("the decoder is not made yet: fold the encoder first")
        return self.module

    def first(self, size: int) -> Decoders:
        """Decoders of the first `size` components."""
        part = replace(self, cross=self.cross[:, :size], gram=self.gram[:size, :size], code_mean=self.code_mean[:size])
        part.module = first_inputs(self.in_use, size) if self.trained else part.least_squares()
        return part

    def fold(self, solution: Solution, frame: Frame) -> CompressorModule:
        """Make the solution's encoder take raw embeddings, and its decoder give them; return the encoder."""
        mean, scale = torch.from_numpy(frame.mean), torch.from_numpy(frame.scale)
        fold_input(solution.encoder, mean, scale)
        if solution.decoder is not None:
            fold_output(solution.decoder, mean, scale)
        if solution.keeps_rows and isinstance(solution.encoder, LinearCompressor):
            with torch.no_grad():
                solution.encoder.bias.zero_()
        self.module = self.least_squares() if solution.decoder is None else solution.decoder
        return solution.encoder.requires_grad_(True)


def find_decoders(solution: Solution, problem: Problem) -> Decoders:
    """Sums over the fitted rows: from the moments for a linear code, else in one more pass."""
    frame, moments = problem.frame, problem.moments
    trained = isinstance(solution.decoder, MLPCompressor)
    if isinstance(solution.encoder, LinearCompressor):
        weight = solution.encoder.weight.detach().double().numpy()
        cross = frame.against(moments, weight.T)
        # A trained bias shifts the code, and without centring its mean is not zero either.
        code_mean = solution.encoder.bias.detach().double().numpy().copy()
        return Decoders(
            cross, weight @ cross, code_mean, frame.mean, frame.scale, frame.total_variance(moments), trained=trained
        )
    if problem.rows is None:
        raise DataError("the decoder of a trained code needs the rows, not their moments alone")
    return _by_rows(solution.encoder, problem.rows, problem, trained)


@torch.inference_mode()
def _by_rows(encoder: CompressorModule, rows: Rows, problem: Problem, trained: bool) -> Decoders:
    frame = problem.frame
    dim, d = rows.shape[1], problem.n_components
    cross, gram, code_sum, row_sum = np.zeros((dim, d)), np.zeros((d, d)), np.zeros(d), np.zeros(dim)
    for _, block in rows.blocks(block_rows(dim)):
        x = frame.to(block.astype(np.float32))
        z = encoder(torch.from_numpy(x)).numpy()
        cross += x.T @ z
        gram += z.T @ z
        code_sum += z.sum(axis=0)
        row_sum += x.sum(axis=0)
    n, mean = len(rows), code_sum / len(rows)
    cross -= np.outer(row_sum, mean)
    gram -= np.outer(code_sum, mean)
    total = float((problem.moments.variance / frame.scale**2).sum())
    row_mean = frame.mean + frame.scale * row_sum / n
    return Decoders(cross / (n - 1), gram / (n - 1), mean, row_mean, frame.scale, total, trained=trained)


def _cholesky(correlation: np.ndarray) -> np.ndarray:
    """Lower factor, with the smallest ridge that codes which repeat each other need."""
    for ridge in (1e-12, 1e-9, 1e-6):
        try:
            return np.linalg.cholesky(correlation + ridge * np.eye(len(correlation)))
        except np.linalg.LinAlgError:
            continue
    return np.linalg.cholesky(correlation + 1e-3 * np.eye(len(correlation)))


@overload
def first_inputs(module: LinearCompressor, size: int) -> LinearCompressor: ...


@overload
def first_inputs(module: MLPCompressor, size: int) -> MLPCompressor: ...


def first_inputs(module: CompressorModule, size: int) -> CompressorModule:
    """The module that reads only the first `size` of its inputs, as if the others were zero."""

    def cut(weight: Tensor) -> Tensor:
        return weight.detach()[:, :size].clone()

    if isinstance(module, LinearCompressor):
        return LinearCompressor.from_affine(cut(module.weight), module.bias.detach())
    part = blank(MLPCompressor, size, module.out_features, module.hidden_features)
    part.load_state_dict(
        {name: cut(v) if name in ("skip.weight", "hidden.weight") else v for name, v in module.state_dict().items()}
    )
    return part
