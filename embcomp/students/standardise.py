"""Columns of a table, or channels of images, by their mean and deviation over the training rows."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn

from embcomp.errors import ConfigError, nearest
from embcomp.students.moments import merged


class Standardise(nn.Module):
    """Normalise inputs that are no sound.

    Parameters
    ----------
    kind : {"global", "none", "image"}
        - ``global`` uses the mean and deviation of each column or channel over the training rows (`fit` learns
          them, and they are saved with the student). What does not vary there becomes zero plus its change.
        - ``image`` takes each image's own mean and deviation, which undoes brightness and contrast.
    size : int
        Columns or channels.

    Shape
    -----
    ``(n, size, ...)`` to the same.
    """

    KINDS = ("global", "none")
    IMAGE_KINDS = ("global", "none", "image")

    def __init__(self, kind: str, size: int):
        super().__init__()
        if kind not in self.IMAGE_KINDS:
            raise ConfigError(f"unknown input normalisation {kind!r}: {nearest(kind, self.IMAGE_KINDS)}")
        self.kind = kind
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, features: Tensor, lengths: Tensor | None = None) -> None:
        """Learn the statistics of ``global`` from training rows (n, size, ...); their lengths play no part."""
        self.fit_parts([(features, lengths)])

    def fit_parts(self, parts: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """As `fit`, of rows that come part by part; only the first is looked at where the statistics are not used."""
        found = (_moments(features) for features, _ in parts)
        mean, variance = merged(found if self.kind == "global" else islice(found, 1))
        deviation = variance.sqrt()
        constant = deviation <= 1e-6 * mean.abs()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(constant, torch.ones_like(deviation), deviation))

    def forward(self, features: Tensor) -> Tensor:
        if self.kind == "none":
            return features
        if self.kind == "image":
            axes = list(range(1, features.ndim))
            variance, mean = torch.var_mean(features, axes, correction=0, keepdim=True)
            # A blank image becomes zeros, not noise.
            return (features - mean) / (variance.sqrt() + 1e-5 * (1 + mean.abs()))
        shape = [1, -1] + [1] * (features.ndim - 2)
        return (features - self.mean.view(shape)) / self.deviation.view(shape)


def _moments(features: Tensor) -> tuple[int, Tensor, Tensor]:
    """Count, mean and variance (size,) of each column or channel."""
    axes = [axis for axis in range(features.ndim) if axis != 1]
    # Large numbers of little variation, years say, would lose it in float32.
    variance, mean = torch.var_mean(features.double(), axes, correction=0)
    return features.numel() // features.shape[1], mean, variance
