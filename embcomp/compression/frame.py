"""The coordinates in which a compressor is fitted: centred and scaled.

Rows are never rewritten; the frame is folded into the fitted module at the end.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from embcomp.compression.closed_form import leading_eigh
from embcomp.compression.moments import STRIP, WIDE, Moments, mirror
from embcomp.compression.solvers import FactoredMoments
from embcomp.errors import DataError


class ConstantColumnWarning(UserWarning):
    """Some dimensions never change; they are kept unscaled and carry no information."""


@dataclass(frozen=True)
class Frame:
    """``x = (e - mean) / scale``, both float64 of shape ``(dim,)``."""

    mean: np.ndarray
    scale: np.ndarray

    def covariance(self, moments: Moments | FactoredMoments, degrees: float | None = None) -> np.ndarray:
        """Covariance in this frame, shape ``(dim, dim)``, a new array.

        Without centring it is the second moment about zero, so that the same
        formulas hold. `degrees` is what to divide the scatter by, n - 1 by default.
        """
        degrees = moments.degrees if degrees is None else degrees
        covariance = moments.scatter / degrees
        offset = moments.mean - self.mean
        if offset.any():
            covariance += np.outer(offset, offset) * (moments.mass / degrees)
        covariance /= self.scale
        covariance /= self.scale[:, None]
        return covariance

    def leading(self, moments: Moments, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Largest eigenvalues and eigenvectors of `covariance`, see `embcomp.compression.closed_form.leading_eigh`.

        Of `WIDE` moments they are found in one triangle of the scatter itself, which is as before afterwards, but for rounding:
        a matrix of the square of the dimensions is spared.
        """
        if moments.n_features < WIDE:
            return leading_eigh(self.covariance(moments), count)
        scatter = moments.scatter
        diagonal = scatter.diagonal().copy()
        try:
            for start in range(0, len(scatter), STRIP):
                stop = min(start + STRIP, len(scatter))
                corner = np.tril_indices(stop - start, -1)
                kept = scatter[start:stop, start:stop][corner]
                scatter[start:stop, start:] = self._strip(moments, start, stop)[:, start:]
                scatter[start:stop, start:stop][corner] = kept
            return leading_eigh(scatter, count)
        finally:
            scatter[np.diag_indices_from(scatter)] = diagonal
            mirror(scatter, lower=True)

    def against(self, moments: Moments | FactoredMoments, columns: np.ndarray) -> np.ndarray:
        """Product of `covariance` and a matrix (dim, k)."""
        if isinstance(moments, FactoredMoments) or moments.n_features < WIDE:
            return self.covariance(moments) @ columns
        starts = range(0, len(self.mean), STRIP)
        return np.concatenate([self._strip(moments, start, start + STRIP) @ columns for start in starts])

    def _strip(self, moments: Moments, start: int, stop: int) -> np.ndarray:
        """Rows of `covariance`."""
        strip = moments.scatter[start:stop] / moments.degrees
        offset = moments.mean - self.mean
        if offset.any():
            strip += np.outer(offset[start:stop], offset) * (moments.mass / moments.degrees)
        strip /= self.scale
        strip /= self.scale[start:stop, None]
        return strip

    def factor(self, moments: FactoredMoments) -> np.ndarray:
        """Factor of the covariance in this frame, shape ``(dim, r)``."""
        offset = moments.mean - self.mean
        columns = [moments.factor]
        if offset.any():
            columns.append(np.sqrt(moments.mass) * offset[:, None])
        return np.concatenate(columns, axis=1) / self.scale[:, None] / np.sqrt(moments.degrees)

    def total_variance(self, moments: Moments | FactoredMoments) -> float:
        """Trace of the covariance in this frame, exact for factored moments too."""
        offset = moments.mean - self.mean
        return float(((moments.variance + offset**2 * (moments.mass / moments.degrees)) / self.scale**2).sum())

    def to(self, rows: np.ndarray) -> np.ndarray:
        """Rows ``(k, dim)`` in this frame, in place."""
        rows -= self.mean.astype(rows.dtype)
        rows /= self.scale.astype(rows.dtype)
        return rows

    def to_(self, batch: Tensor) -> Tensor:
        """The same for a tensor on the CPU."""
        self.to(batch.numpy())
        return batch


def make_frame(
    moments: Moments | FactoredMoments,
    center: bool = True,
    scale: bool = False,
    widths: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
) -> Frame:
    """Choose the frame for rows with these moments.

    Parameters
    ----------
    center : bool
        Subtract the mean.
    scale : bool
        Divide every dimension by its standard deviation.
    widths, weights : sequence, optional
        Of several teachers side by side: each gets its weight's share of the
        total variance.

    Raises
    ------
    DataError
        No dimension varies.

    Warns
    -----
    ConstantColumnWarning
        `scale` meets dimensions that never change.
    """
    variance = np.clip(moments.variance, 0, None)
    # Rounding leaves a constant a variance of about (1e-7 mean)^2.
    constant = variance <= 1e-12 * moments.mean**2
    if constant.all():
        raise DataError(f"all {len(variance)} columns are constant over {moments.count} rows: nothing to compress")
    if scale and constant.any():
        columns = np.flatnonzero(constant)
        listed = ", ".join(map(str, columns[:8])) + (", ..." if len(columns) > 8 else "")
        warnings.warn(
            f"{len(columns)} of {len(variance)} columns are constant and cannot be scaled: {listed}",
            ConstantColumnWarning,
            stacklevel=4,
        )
    divisor = np.where(constant, 1.0, np.sqrt(variance)) if scale else np.ones_like(variance)
    if widths is not None and len(widths) > 1:
        share = np.split(np.where(constant, 0.0, variance / divisor**2), np.cumsum(widths)[:-1])
        wanted = [1.0] * len(share) if weights is None else weights
        factors = [np.sqrt(part.sum() / weight) or 1.0 for part, weight in zip(share, wanted, strict=True)]
        divisor = divisor * np.repeat(factors, widths)
    return Frame(moments.mean if center else np.zeros_like(moments.mean), divisor)
