"""Another microphone: changes of the channel that leave the sound, and so a cached target, valid."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from embcomp.distributed import Share

POINTS = 6  # of the equaliser's curve over the bands
STYLE = 0.4  # a of Beta(a, a), as published


def equalise(features: Tensor, decibel: float, generator: torch.Generator, share: Share | None = None) -> Tensor:
    """A smooth random equaliser, drawn anew for each clip.

    FilterAugment's linear type (Nam et al. 2022, arXiv 2110.03282) with equally spaced points: gains in
    ``[-decibel, decibel]`` at six points over the bands, straight lines in dB between them.

    Parameters
    ----------
    features : Tensor of shape (n, n_mels, frames)
        Natural log power.
    decibel : float
        Largest gain at a point.
    generator : torch.Generator
        On the CPU, so that one seed gives the same draws on every device.
    share : Share, optional
        Where the clips are a share of a batch.

    Returns
    -------
    Tensor of shape (n, n_mels, frames)
    """
    return features + equaliser_curves(features, decibel, generator, share).unsqueeze(2)


def equaliser_curves(
    features: Tensor, decibel: float, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """What `equalise` adds to each band, (n, n_mels)."""
    count, bands = features.shape[:2]
    own = slice(None) if share is None else share.own
    drawn = torch.rand(count if share is None else share.whole, 1, POINTS, generator=generator)[own]
    gains = (2 * drawn - 1) * decibel
    curve = torch.nn.functional.interpolate(gains, bands, mode="linear", align_corners=True)
    return (curve * math.log(10) / 10).squeeze(1).to(features.device)


def mix_styles(
    features: Tensor, lengths: Tensor, probability: float, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """Freq-MixStyle: give some clips a mix of their own and another clip's statistics in each band.

    Schmid et al. 2022, "Knowledge Distillation from Transformers for Low-Complexity Acoustic Scene
    Classification" (DCASE workshop), after MixStyle (Zhou et al. 2021, arXiv 2104.02008): each band's mean and
    deviation over time are replaced by ``l * own + (1 - l) * other``, l from Beta(0.4, 0.4). There a whole batch
    is changed or not; here each clip is, with `probability`.

    Parameters
    ----------
    features : Tensor of shape (n, n_mels, frames)
    lengths : Tensor of shape (n,)
        Valid frames; what lies past them stays as it is.
    probability : float in [0, 1]
    generator : torch.Generator
        On the CPU.
    share : Share, optional
        Where the clips are a share of a batch, of all of which the other clips are drawn.

    Returns
    -------
    Tensor of shape (n, n_mels, frames)
    """
    count = len(features) if share is None else share.whole
    place = slice(None) if share is None else share.own
    chosen = torch.rand(count, generator=generator) < probability
    partners = torch.randperm(count, generator=generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    own = torch.from_numpy(np.random.default_rng(seed).beta(STYLE, STYLE, count)).float()
    own = torch.where(chosen, own, torch.ones(count))[place].view(-1, 1, 1).to(features.device)
    frames = torch.arange(features.shape[2], device=features.device)
    valid = (frames < lengths.to(features.device).unsqueeze(1)).unsqueeze(1)
    size = lengths.to(features.device).view(-1, 1, 1)
    mean = (features * valid).sum(2, keepdim=True) / size
    deviation = (((features - mean) * valid).square().sum(2, keepdim=True) / size + 1e-6).sqrt()
    other = partners[place].to(features.device)
    of_all = [mean, deviation] if share is None else share.gathered(mean, deviation)
    mixed_mean, mixed_deviation = (
        own * part + (1 - own) * whole[other] for part, whole in zip((mean, deviation), of_all)
    )
    return torch.where(valid, (features - mean) / deviation * mixed_deviation + mixed_mean, features)
