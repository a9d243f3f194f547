"""Augmentation by what the input is: of log-mels, of images, and none of a table."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from embcomp.audio.augment import augment, changed, mix
from embcomp.config import TrainingConfig
from embcomp.distributed import Share
from embcomp.students.inputs import changed as changed_by_kernels
from embcomp.students.inputs import fast


def augmented(
    features: Tensor, lengths: Tensor, config: TrainingConfig, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """A batch changed in ways that leave a cached target valid, drawn anew for each row.

    Parameters
    ----------
    features : Tensor
        Log-mels (n, n_mels, frames), a table (n, columns, 1), whose settings change nothing, or images
        (n, channels, height, width).
    lengths : Tensor of shape (n,)
    generator : torch.Generator
        On the CPU, so that one seed gives the same draws on every device.
    share : Share, optional
        Where the rows are a share of a batch: draws are for the whole batch, in each process alike.

    Notes
    -----
    With ``config.views`` the sound was changed already, and the target is that of the changed sound: only what hides
    a part from the student is left to do here.
    """
    if config.views:
        config = replace(config, gain=0.0, equaliser=0.0, mixstyle=0.0, roll=0.0)
    if features.ndim == 4:
        return shifted(features, config.roll, generator, share) if config.roll else features
    return augment(features, lengths, config, generator, share, changed_by_kernels if fast(features) else changed)


def augmented_apart(
    features: Tensor,
    lengths: Tensor,
    unlabelled: Tensor,
    config: TrainingConfig,
    generator: torch.Generator,
    share: Share | None = None,
) -> Tensor:
    """As `augmented`, with settings of their own for clips without a label.

    Parameters
    ----------
    unlabelled : Tensor of shape (n,), bool
        Which clips these are; of the whole batch, where the rows are a share of it.
    """
    other = _of_unlabelled(config)
    if other == config:
        return augmented(features, lengths, config, generator, share)
    apart = features.clone()
    for chosen, settings in ((~unlabelled, config), (unlabelled, other)):
        if not chosen.any():
            continue
        own, part = (chosen, None) if share is None else (chosen[share.own], share.within(chosen))
        rows = own.nonzero().squeeze(1)
        apart[rows] = augmented(features[rows], lengths[rows], settings, generator, part)
    return apart


@functools.lru_cache(maxsize=8)
def _of_unlabelled(config: TrainingConfig) -> TrainingConfig:
    """Asked for at every step, and checked whenever it is made."""
    return config.of_unlabelled()


def mixed(features: Tensor, lengths: Tensor, partners: Tensor, partner_lengths: Tensor, shares: Tensor) -> Tensor:
    """Mixup; see `embcomp.audio.augment.mix`. Images mix pixel by pixel."""
    if features.ndim == 4:
        return torch.lerp(partners, features, shares.view(-1, 1, 1, 1))
    return mix(features, lengths, partners, partner_lengths, shares)


def shifted(images: Tensor, most: float, generator: torch.Generator, share: Share | None = None) -> Tensor:
    """Images (n, channels, height, width) moved by whole pixels, their edges repeated.

    Parameters
    ----------
    most : float
        Share of height and of width: the furthest move either way, rounded.
    share : Share, optional
        Where the images are a share of a batch.
    """
    count, own = (len(images), slice(None)) if share is None else (share.whole, share.own)
    drawn = 2 * torch.rand((2, count), generator=generator)[:, own].to(images.device) - 1
    for axis, moves in zip((2, 3), drawn):
        size = images.shape[axis]
        places = torch.arange(size, device=images.device)
        source = (places + (moves * most * size).round().long().unsqueeze(1)).clamp(0, size - 1)
        shape = [len(images), 1, 1, 1]
        shape[axis] = size
        images = images.gather(axis, source.view(shape).expand_as(images))
    return images
