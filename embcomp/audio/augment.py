"""Changes to log-mels that leave a cached target valid.

A cached target describes the whole, undisturbed clip. Hiding a little, shifting
a little in time and changing the level do not change what the clip is; cropping,
pitch or speed changes would. Two clips that are mixed have the mix of their targets.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from embcomp.audio.channel import equalise, mix_styles
from embcomp.config import TrainingConfig
from embcomp.distributed import Share


def augment(
    features: Tensor, lengths: Tensor, config: TrainingConfig, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """Gain, channel, roll and SpecAugment (Park et al. 2019), drawn anew for each clip.

    Parameters
    ----------
    features : Tensor of shape (n, n_mels, frames)
        Log power.
    lengths : Tensor of shape (n,)
        Valid frames.
    generator : torch.Generator
        On the CPU, so that one seed gives the same draws on every device.
    share : Share, optional
        Where the clips are a share of a batch: draws are for the whole batch, in each process alike.

    Returns
    -------
    Tensor of shape (n, n_mels, frames)
    """
    if config.gain:
        decibel = (2 * _draw(features, generator, share) - 1) * config.gain
        features = features + (decibel * math.log(10) / 10).view(-1, 1, 1)
    if config.equaliser:
        features = equalise(features, config.equaliser, generator, share)
    if config.mixstyle:
        features = mix_styles(features, lengths, config.mixstyle, generator, share)
    if config.roll:
        features = _roll(features, lengths, (2 * _draw(features, generator, share) - 1) * config.roll)
    bands = torch.arange(features.shape[1], device=features.device)
    frames = torch.arange(features.shape[2], device=features.device)
    hidden_bands = bands.new_zeros((len(features), features.shape[1]), dtype=torch.bool)
    hidden_frames = frames.new_zeros((len(features), features.shape[2]), dtype=torch.bool)
    for _ in range(2):
        if config.freq_mask:
            width = _draw(features, generator, share) * min(config.freq_mask, features.shape[1] // 2)
            first = _draw(features, generator, share) * (features.shape[1] - width)
            hidden_bands |= _between(bands, first, width)
        if config.time_mask:
            width = _draw(features, generator, share) * config.time_mask * lengths
            first = _draw(features, generator, share) * (lengths - width)
            hidden_frames |= _between(frames, first, width)
    # The clip's mean, not zero: zero is loud on a log scale, and so is the padding.
    valid = (frames < lengths.to(features.device).unsqueeze(1)).unsqueeze(1)
    hidden = (hidden_bands.unsqueeze(2) | hidden_frames.unsqueeze(1)) & valid
    mean = (features * valid).sum((1, 2), keepdim=True) / (valid.sum((1, 2), keepdim=True) * features.shape[1])
    return torch.where(hidden, mean, features)


def mixing_shares(count: int, concentration: float, generator: torch.Generator) -> Tensor:
    """How much of each clip stays when it is mixed with another, float32 (count,), in [0.5, 1].

    ``max(b, 1 - b)`` of b from Beta(concentration, concentration), drawn for each clip, as EAsT does
    with 0.3 (Ding & Lerch 2023, arXiv 2306.17424): so it is clear which of the two is the clip itself.

    Parameters
    ----------
    concentration : float > 0
        Near 0 the clips are hardly mixed, from 1 on often evenly.
    generator : torch.Generator
        On the CPU.
    """
    # Torch draws no Beta from a generator of its own.
    seed = int(torch.randint(2**62, (1,), generator=generator))
    drawn = np.random.default_rng(seed).beta(concentration, concentration, count)
    return torch.from_numpy(np.maximum(drawn, 1 - drawn)).float()


def mix(features: Tensor, lengths: Tensor, partners: Tensor, partner_lengths: Tensor, shares: Tensor) -> Tensor:
    """Mixup of log-mels: ``share * clip + (1 - share) * partner``, frame by frame.

    Zhang et al. 2018 (arXiv 1710.09412), on log-mels as in EAsT (arXiv 2306.17424), whose clips are all
    of one length. Here the clip keeps its own length: a shorter partner is repeated until the clip's end,
    so that its share is the same throughout, and a longer one is cut there.

    Parameters
    ----------
    features : Tensor of shape (n, n_mels, frames)
    lengths : Tensor of shape (n,)
        Valid frames; what lies past them stays as it is.
    partners : Tensor of shape (n, n_mels, partner frames)
    partner_lengths : Tensor of shape (n,)
    shares : Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n, n_mels, frames)
    """
    frames = torch.arange(features.shape[2], device=features.device)
    place = (frames % partner_lengths.unsqueeze(1)).unsqueeze(1).expand_as(features)
    mixed = torch.lerp(partners.gather(2, place), features, shares.view(-1, 1, 1))
    return torch.where((frames < lengths.unsqueeze(1)).unsqueeze(1), mixed, features)


def _draw(features: Tensor, generator: torch.Generator, share: Share | None) -> Tensor:
    """A number in [0, 1) for each clip."""
    if share is None:
        return torch.rand(len(features), generator=generator).to(features.device)
    return torch.rand(share.whole, generator=generator)[share.own].to(features.device)


def _between(positions: Tensor, first: Tensor, width: Tensor) -> Tensor:
    return (positions >= first.unsqueeze(1)) & (positions < (first + width).floor().unsqueeze(1))


def _roll(features: Tensor, lengths: Tensor, share: Tensor) -> Tensor:
    """Turn each clip's valid frames round by a share of their number; padding stays where it is."""
    frames = torch.arange(features.shape[2], device=features.device)
    lengths = lengths.to(features.device).unsqueeze(1)
    shift = (share.unsqueeze(1) * lengths).round().long()
    source = torch.where(frames < lengths, (frames - shift) % lengths, frames)
    return features.gather(2, source.unsqueeze(1).expand_as(features))
