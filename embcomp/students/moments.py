"""Mean and variance of rows that are seen part by part."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def merged(parts: Iterable[tuple[Tensor | int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all rows from those of each part (Chan, Golub & LeVeque 1983, equation 2.1).

    Parameters
    ----------
    parts : iterable of (count, mean (d,), variance (d,))
        At least one, none of them empty. Variances are about the part's own mean, divided by its count.

    Returns
    -------
    mean, variance : Tensor of shape (d,)
        Of a single part as they came; of several float64.
    """
    parts = iter(parts)
    count, mean, variance = next(parts)
    for more, other, spread in parts:
        mean, variance, other, spread = (value.double() for value in (mean, variance, other, spread))
        share, step = more / (count + more), other - mean
        variance = (1 - share) * variance + share * spread + share * (1 - share) * step.square()
        mean, count = mean + share * step, count + more
    return mean, variance
