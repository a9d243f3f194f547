"""Augmentation by what the input is: of log-mels, of images, and none of a table."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from embcomp.audio.augment import augment, mix
from embcomp.config import TrainingConfig


def augmented(features: Tensor, lengths: Tensor, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """A batch changed in ways that leave a cached target valid, drawn anew for each row.

    Parameters
    ----------
    features : Tensor
        Log-mels (n, n_mels, frames), a table (n, columns, 1), whose settings change nothing, or images
        (n, channels, height, width).
    lengths : Tensor of shape (n,)
    generator : torch.Generator
        On the CPU, so that one seed gives the same draws on every device.

    Notes
    -----
    With ``config.views`` the sound was changed already, and the target is that of the changed sound: only what hides
    a part from the student is left to do here.
    """
    if config.views:
        config = replace(config, gain=0.0, equaliser=0.0, mixstyle=0.0, roll=0.0)
    if features.ndim == 4:
        return shifted(features, config.roll, generator) if config.roll else features
    return augment(features, lengths, config, generator)


def augmented_apart(
    features: Tensor, lengths: Tensor, unlabelled: Tensor, config: TrainingConfig, generator: torch.Generator
) -> Tensor:
    """As `augmented`, with settings of their own for clips without a label.

    Parameters
    ----------
    unlabelled : Tensor of shape (n,), bool
        Which clips these are.
    """
    other = config.of_unlabelled()
    if other == config:
        return augmented(features, lengths, config, generator)
    changed = features.clone()
    for chosen, settings in ((~unlabelled, config), (unlabelled, other)):
        rows = chosen.nonzero().squeeze(1)
        if len(rows):
            changed[rows] = augmented(features[rows], lengths[rows], settings, generator)
    return changed


def mixed(features: Tensor, lengths: Tensor, partners: Tensor, partner_lengths: Tensor, shares: Tensor) -> Tensor:
    """Mixup; see `embcomp.audio.augment.mix`. Images mix pixel by pixel."""
    if features.ndim == 4:
        return torch.lerp(partners, features, shares.view(-1, 1, 1, 1))
    return mix(features, lengths, partners, partner_lengths, shares)


def shifted(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Images (n, channels, height, width) moved by whole pixels, their edges repeated.

    Parameters
    ----------
    share : float
        Of height and of width: the furthest move either way, rounded.
    """
    drawn = 2 * torch.rand((2, len(images)), generator=generator).to(images.device) - 1
    for axis, moves in zip((2, 3), drawn):
        size = images.shape[axis]
        places = torch.arange(size, device=images.device)
        source = (places + (moves * share * size).round().long().unsqueeze(1)).clamp(0, size - 1)
        shape = [len(images), 1, 1, 1]
        shape[axis] = size
        images = images.gather(axis, source.view(shape).expand_as(images))
    return images
