"""Smaller numbers for the targets: float16, int8, or one bit, with the loss measured.

A quantiser stores its ranges, so codes can always be turned back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from embcomp.compression.rows import as_rows, raise_not_finite
from embcomp.errors import ArtifactError, ConfigError, DataError, choose

KIND = "quantiser"
BITS = {"float16": 16, "int8": 8, "binary": 1}
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class QuantisationLoss:
    """What quantising rows costs.

    Attributes
    ----------
    relative_error : float
        Squared error over the variance of the rows; 0 is lossless.
    cosine : float
        Mean cosine between rows and what comes back.
    clipped : float
        Share of values outside the stored range.
    bytes_per_row : int
    """

    relative_error: float
    cosine: float
    clipped: float
    bytes_per_row: int


class Quantiser:
    """Quantise targets, one range per dimension.

    Parameters
    ----------
    dtype : {"float16", "int8", "binary"}, default="int8"
        ``int8`` divides the range of each dimension into 255 steps; ``binary``
        keeps whether a value is above the mean, 8 dimensions to a byte.
    clip : float in [0, 0.5), default=0.0
        Share of values at each end left outside the int8 range, to spend the
        steps where the values are.

    Attributes
    ----------
    low_, high_ : ndarray of shape (d,), float32
        The range for float16 and int8; for binary what bits 0 and 1 decode to: the means of
        what lies below and above the threshold.
    threshold_ : ndarray of shape (d,), float32
        Between them.

    Examples
    --------
    >>> Z = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    >>> quantiser = Quantiser("int8").fit(Z)
    >>> quantiser.transform(Z).dtype, quantiser.loss(Z).bytes_per_row
    (dtype('int8'), 16)
    """

    def __init__(self, dtype: str = "int8", clip: float = 0.0):
        choose("dtype", dtype, BITS)
        if not 0 <= clip < 0.5:
            raise ConfigError(f"clip must be from 0 to below 0.5, got {clip!r}")
        self.dtype = dtype
        self.clip = clip

    def fit(self, Z: Any) -> Quantiser:
        """Learn the ranges of targets, shape ``(n, d)``; they are held in memory.

        Raises
        ------
        DataError
            NaN or infinity: which rows.
        """
        values = _values(Z)
        self.threshold_ = values.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.dtype == "binary":
            above = values > self.threshold_
            self.low_, self.high_ = (_means_where(values, side, self.threshold_) for side in (~above, above))
        elif self.clip:
            self.low_, self.high_ = np.quantile(values, [self.clip, 1 - self.clip], axis=0).astype(np.float32)
        else:
            self.low_, self.high_ = values.min(axis=0), values.max(axis=0)
        return self

    def transform(self, Z: Any) -> np.ndarray:
        """Codes: float16 ``(n, d)``, int8 ``(n, d)``, or uint8 ``(n, ceil(d / 8))``; beyond the range is clipped."""
        values = self._check(_values(Z))
        if self.dtype == "float16":
            return np.clip(values, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)
        if self.dtype == "binary":
            return np.packbits(values > self.threshold_, axis=1)
        steps = np.rint((np.clip(values, self.low_, self.high_) - self.low_) / self._step())
        return (np.clip(steps, 0, 255) - 128).astype(np.int8)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Targets from codes, float32 ``(n, d)``.

        Raises
        ------
        DataError
            Codes of another type or width.
        """
        codes = np.asarray(codes)
        expected = {"float16": np.float16, "int8": np.int8, "binary": np.uint8}[self.dtype]
        d = len(self._range()[0])
        width = -(-d // 8) if self.dtype == "binary" else d
        if codes.dtype != expected or codes.ndim != 2 or codes.shape[1] != width:
            raise DataError(
                f"expected {np.dtype(expected)} codes of shape (n, {width}), got {codes.dtype} of shape {codes.shape}"
            )
        if self.dtype == "float16":
            return codes.astype(np.float32)
        if self.dtype == "binary":
            return np.where(np.unpackbits(codes, axis=1, count=d).astype(bool), self.high_, self.low_)
        return self.low_ + (codes.astype(np.float32) + 128) * self._step()

    def loss(self, Z: Any) -> QuantisationLoss:
        """Measure what quantising targets ``(n, d)`` loses; best on rows not fitted on."""
        values = self._check(_values(Z)).astype(np.float64)
        codes = self.transform(Z)
        back = self.inverse_transform(codes).astype(np.float64)
        spread = float(((values - values.mean(axis=0)) ** 2).sum())
        error = float(((values - back) ** 2).sum())
        norms = np.linalg.norm(values, axis=1) * np.linalg.norm(back, axis=1)
        cosines = np.einsum("ij,ij->i", values, back)[norms > 0] / norms[norms > 0]
        low, high = (-FLOAT16_MAX, FLOAT16_MAX) if self.dtype == "float16" else (self.low_, self.high_)
        clipped = 0.0 if self.dtype == "binary" else float(((values < low) | (values > high)).mean())
        return QuantisationLoss(
            relative_error=error / spread if spread else (0.0 if error == 0 else float("inf")),
            cosine=float(cosines.mean()) if len(cosines) else 1.0,
            clipped=clipped,
            bytes_per_row=int(codes.shape[1] * codes.dtype.itemsize),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ranges into the folder `path`."""
        import torch

        from embcomp.storage.artifact import save_artifact

        low, high = self._range()
        tensors = {"low": low, "high": high, "threshold": self.threshold_}
        config = {"dtype": self.dtype, "clip": self.clip, "n_components": len(low)}
        save_artifact(path, KIND, config, {name: torch.from_numpy(array.copy()) for name, array in tensors.items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Quantiser:
        """Read a saved quantiser back.

        Raises
        ------
        ArtifactError
            Missing, damaged, or of another kind.
        """
        import torch

        from embcomp.storage.artifact import check_tensors, load_artifact

        config, tensors = load_artifact(path, KIND)
        try:
            quantiser = cls(config["dtype"], config["clip"])
            expected = torch.empty(int(config["n_components"]), device="meta")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path}: config.json is damaged ({error!r}); make it again") from error
        check_tensors(path, tensors, dict.fromkeys(("low", "high", "threshold"), expected))
        quantiser.low_, quantiser.high_ = tensors["low"].numpy(), tensors["high"].numpy()
        quantiser.threshold_ = tensors["threshold"].numpy()
        return quantiser

    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(self, "low_"):
            raise DataError("this Quantiser is not fitted yet; call fit with some targets first")
        return self.low_, self.high_

    def _step(self) -> np.ndarray:
        """Width of one int8 step; 1 for a constant dimension, whose code is then always the lowest."""
        span = self.high_ - self.low_
        return np.where(span > 0, span / np.float32(255), np.float32(1))

    def _check(self, values: np.ndarray) -> np.ndarray:
        d = len(self._range()[0])
        if values.shape[1] != d:
            raise DataError(f"targets have {values.shape[1]} dimensions, the quantiser was fitted on {d}")
        return values


def _values(Z: Any) -> np.ndarray:
    rows = as_rows(Z)
    values = rows[:].astype(np.float32)
    if not np.isfinite(values).all():
        raise_not_finite(rows)
    return values


def _means_where(values: np.ndarray, mask: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    counts = mask.sum(axis=0)
    sums = np.where(mask, values, 0).sum(axis=0, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), fallback).astype(np.float32)
