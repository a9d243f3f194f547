"""Changes to log-mels that leave a cached target valid.

A cached target describes the whole, undisturbed clip. Hiding a little, shifting
a little in time and changing the level do not change what the clip is; cropping,
pitch or speed changes would. Two clips that are mixed have the mix of their targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embcomp.audio.channel import equaliser_curves, mix_styles
from embcomp.config import TrainingConfig
from embcomp.distributed import Share


@dataclass(frozen=True)
class Changes:
    """What is changed in each clip of a batch; None changes nothing.

    Attributes
    ----------
    gain : Tensor of shape (n,)
        Added to all of a clip's log power.
    curve : Tensor of shape (n, n_mels)
        Added to each band.
    turns : Tensor of shape (n,), int64
        Frames by which the valid ones are turned round.
    bands, frames : Tensor of shape (masks, 2, n)
        Where what is hidden begins, and the whole number that it ends before.
    """

    gain: Tensor | None = None
    curve: Tensor | None = None
    turns: Tensor | None = None
    bands: Tensor | None = None
    frames: Tensor | None = None


def changed(features: Tensor, lengths: Tensor, changes: Changes) -> Tensor:
    """Log-mels (n, n_mels, frames) with `lengths` valid frames, (n,), as `changes` has them."""
    features = _raised(features, changes)
    lengths = lengths.to(features.device)
    if changes.turns is not None:
        features = _turned(features, lengths, changes.turns)
    bands = torch.arange(features.shape[1], device=features.device)
    frames = torch.arange(features.shape[2], device=features.device)
    hidden_bands, hidden_frames = _inside(bands, changes.bands, features), _inside(frames, changes.frames, features)
    # The clip's mean, not zero: zero is loud on a log scale, and so is the padding.
    valid = (frames < lengths.unsqueeze(1)).unsqueeze(1)
    hidden = (hidden_bands.unsqueeze(2) | hidden_frames.unsqueeze(1)) & valid
    mean = (features * valid).sum((1, 2), keepdim=True) / (valid.sum((1, 2), keepdim=True) * features.shape[1])
    return torch.where(hidden, mean, features)


Change = Callable[[Tensor, Tensor, Changes], Tensor]


def augment(
    features: Tensor,
    lengths: Tensor,
    config: TrainingConfig,
    generator: torch.Generator,
    share: Share | None = None,
    change: Change = changed,
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
    change : callable
        `changed`, or what gives the same.

    Returns
    -------
    Tensor of shape (n, n_mels, frames)
    """
    gain = curve = turns = None
    if config.gain:
        decibel = (2 * _draw(1, features, generator, share)[0] - 1) * config.gain
        gain = decibel * math.log(10) / 10
    if config.equaliser:
        curve = equaliser_curves(features, config.equaliser, generator, share)
    if config.mixstyle:
        features = mix_styles(_raised(features, Changes(gain, curve)), lengths, config.mixstyle, generator, share)
        gain = curve = None
    lengths = lengths.to(features.device)
    kinds = bool(config.freq_mask) + bool(config.time_mask)
    drawn = _draw(bool(config.roll) + 4 * kinds, features, generator, share)
    if config.roll:
        turns = ((2 * drawn[0] - 1) * config.roll * lengths).round().long()
        drawn = drawn[1:]
    # Of each of two masks: width and place over bands, then the same over frames.
    drawn = drawn.view(2, kinds, 2, len(lengths))
    bands = frames = None
    if config.freq_mask:
        width = drawn[:, 0, 0] * min(config.freq_mask, features.shape[1] // 2)
        bands = _parts(width, drawn[:, 0, 1], features.shape[1])
    if config.time_mask:
        frames = _parts(drawn[:, -1, 0] * config.time_mask * lengths, drawn[:, -1, 1], lengths)
    return change(features, lengths, Changes(gain, curve, turns, bands, frames))


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


def _draw(count: int, features: Tensor, generator: torch.Generator, share: Share | None) -> Tensor:
    """So many numbers in [0, 1) for each clip, (count, n); they come one after the other."""
    if share is None:
        return torch.rand(count, len(features), generator=generator).to(features.device)
    return torch.rand(count, share.whole, generator=generator)[:, share.own].to(features.device)


def _parts(width: Tensor, place: Tensor, size: Tensor | float) -> Tensor:
    """Begin and end, (masks, 2, n), of parts of a width, at a place in [0, 1) of a clip's size."""
    first = place * (size - width)
    return torch.stack([first, (first + width).floor()], dim=1)


def _inside(positions: Tensor, parts: Tensor | None, features: Tensor) -> Tensor:
    """Which positions of each clip are in one of its parts, (n, positions)."""
    if parts is None:
        return positions.new_zeros((len(features), len(positions)), dtype=torch.bool)
    return ((positions >= parts[:, 0].unsqueeze(2)) & (positions < parts[:, 1].unsqueeze(2))).any(0)


def _raised(features: Tensor, changes: Changes) -> Tensor:
    if changes.gain is not None:
        features = features + changes.gain.view(-1, 1, 1)
    return features if changes.curve is None else features + changes.curve.unsqueeze(2)


def _turned(features: Tensor, lengths: Tensor, turns: Tensor) -> Tensor:
    """Turn each clip's valid frames round; padding stays where it is."""
    frames = torch.arange(features.shape[2], device=features.device)
    lengths = lengths.unsqueeze(1)
    source = torch.where(frames < lengths, (frames - turns.unsqueeze(1)) % lengths, frames)
    return features.gather(2, source.unsqueeze(1).expand_as(features))
