"""Pooling that does not see where a batch was padded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def max_pool(x: Tensor, mask: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Maximum over windows of bands and frames; a last window may be smaller.

    Parameters
    ----------
    x : Tensor of shape (n, channels, bands, frames)
        Nowhere negative, and zero where a clip has ended: so a window that reaches past the end
        has the maximum of its valid part.
    mask : Tensor of shape (n, 1, 1, frames), or None
        1 where a clip still runs; None where every clip fills its row.
    size : (int, int)
        Bands and frames of a window.

    Returns
    -------
    x, mask : Tensor, Tensor or None
        With bands and frames divided by `size`, rounded up.
    """
    return F.max_pool2d(x, size, ceil_mode=True), strided(mask, size[1])


def strided(mask: Tensor | None, step: int) -> Tensor | None:
    """The mask of maps that keep every `step`-th frame."""
    return None if mask is None else mask[..., ::step]


def mean_over_time(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of (n, frames, channels), zero where a clip has ended, over valid frames: (n, channels)."""
    return frames.mean(1) if mask is None else frames.sum(1) / mask.sum(-1).flatten(1)


def at_least_float32(x: Tensor) -> Tensor:
    """Maps of bfloat16, as autocast gives them, in float32: a mean over many of them would lose what differs."""
    return x.float() if x.dtype == torch.bfloat16 else x


def over_bands(x: Tensor) -> Tensor:
    """Mean over bands of maps (n, channels, bands, frames), as (n, frames, channels)."""
    # In this order of axes a mean over bands of maps with channels last is nine times faster.
    return at_least_float32(x).permute(0, 2, 3, 1).mean(1)


def pooled_mean(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean over bands and valid frames, and the frames before the mean over time.

    Parameters
    ----------
    x : Tensor of shape (n, channels, bands, frames)
        Zero where a clip has ended.
    mask : Tensor of shape (n, 1, 1, frames), or None

    Returns
    -------
    mean : Tensor of shape (n, channels)
    frames : Tensor of shape (n, frames, channels)
    """
    frames = over_bands(x)
    return mean_over_time(frames, mask), frames
