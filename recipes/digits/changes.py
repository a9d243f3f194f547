"""Digits written otherwise: turned, with thicker or thinner strokes, and noisy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 4  # strokes are changed on a grid this much finer than the pixels


@dataclass(frozen=True)
class Change:
    """How much images are changed, each drawn anew and evenly between its bounds.

    Attributes
    ----------
    turn : (float, float)
        Degrees, either way.
    stroke : (float, float)
        Share of the way to strokes one fine pixel thicker; either thicker or, with the same probability, thinner.
    noise : (float, float)
        Deviation of added Gaussian noise, pixels being in [0, 1].
    scale, move : float
        Largest change of size, and of place in pixels.
    """

    turn: tuple[float, float] = (0.0, 0.0)
    stroke: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, float] = (0.0, 0.0)
    scale: float = 0.0
    move: float = 0.0


# What no student sees while it trains.
SHIFT = Change(turn=(15, 35), stroke=(0.5, 1.0), noise=(0.1, 0.25))
# What the teacher sees: weaker and stronger than that, and more kinds of it.
WIDE = Change(turn=(0, 45), stroke=(0.0, 1.0), noise=(0.0, 0.3), scale=0.15, move=1.0)


def changed(images: Tensor, change: Change, generator: torch.Generator) -> Tensor:
    """Images (n, 1, height, width) in [0, 1], each changed by its own draws."""
    count = len(images)

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    def signs() -> Tensor:
        return 2.0 * torch.randint(2, (count,), generator=generator) - 1

    angle = drawn(*change.turn) * signs() * math.pi / 180
    size = 1 + drawn(-change.scale, change.scale)
    moves = torch.stack([drawn(-change.move, change.move) * 2 / images.shape[-1] for _ in range(2)], dim=1)
    cosine, sine = angle.cos() / size, angle.sin() / size
    matrix = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    grid = F.affine_grid(torch.cat([matrix, moves[:, :, None]], 2), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, align_corners=False)
    share, thicker = drawn(*change.stroke).view(-1, 1, 1, 1), (signs() > 0).view(-1, 1, 1, 1)
    fine = F.interpolate(images, scale_factor=FINE, mode="bilinear", align_corners=False)
    thick, thin = F.max_pool2d(fine, 3, 1, 1), -F.max_pool2d(-fine, 3, 1, 1)
    images = F.avg_pool2d(torch.lerp(fine, torch.where(thicker, thick, thin), share), FINE)
    noise = torch.randn(images.shape, generator=generator) * drawn(*change.noise).view(-1, 1, 1, 1)
    return (images + noise).clamp(0, 1)
