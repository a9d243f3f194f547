"""How a student normalises its input: what it keeps of level, microphone and room."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn

from embcomp.errors import ConfigError, nearest
from embcomp.students.inputs import fast, normalised
from embcomp.students.moments import merged
from embcomp.students.norm import is_exporting
from embcomp.students.output import frame_mask, masked

FLAT = 1e-14  # below this variance a clip is digital silence
SMALLEST = 1e-2  # added to deviations: a silent or one-frame clip becomes zeros, not noise
RESIDUAL = 0.1  # lambda of residual normalisation, as published


class InputNorm(nn.Module):
    """Normalise log-mels, looking only at frames that belong to the clip.

    Level and channel are what differs most between data sets, so this choice
    decides much of what carries over.

    Parameters
    ----------
    kind : {"none", "global", "clip", "band", "blend", "residual", "pcen"}
        - ``global`` uses each band's mean and deviation over the training clips (`fit` learns them).
        - ``clip`` takes the clip's own mean and deviation over all bands, which undoes its level.
        - ``band`` takes the clip's mean of each band, which undoes any fixed filter (cepstral mean
          normalisation), and one deviation per clip.
        - ``blend`` subtracts ``s * band mean + (1 - s) * clip mean`` with a trained strength s in [0, 1] for
          each band, 0.5 at the start: a task in which the long-term spectrum matters may keep it.
        - ``residual`` adds instance normalisation of each band over time to a tenth of the clip-normalised input
          (``lambda * x + FreqIN(x)``, residual normalisation, Kim et al. 2021, arXiv 2111.06531, section 2.2).
        - ``pcen`` is per-channel energy normalisation (Wang et al. 2017, arXiv 1607.05666) with trained gain,
          bias and root for each band and a fixed smoother, then ``clip``.
    n_mels : int

    Shape
    -----
    ``(n, n_mels, frames)`` and mask ``(n, frames)`` or None to ``(n, n_mels, frames)``; frames
    outside the clip become zero.
    """

    KINDS = ("none", "global", "clip", "band", "blend", "residual", "pcen")

    def __init__(self, kind: str, n_mels: int):
        super().__init__()
        if kind not in self.KINDS:
            raise ConfigError(f"unknown input normalisation {kind!r}: {nearest(kind, self.KINDS)}")
        self.kind = kind
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("deviation", torch.ones(n_mels))
        if kind == "blend":
            self.strength = nn.Parameter(torch.zeros(n_mels))
        if kind == "pcen":
            self.energies = Pcen(n_mels)

    def fit(self, features: Tensor, lengths: Tensor) -> None:
        """Learn the statistics of ``global`` from training clips (n, n_mels, frames)."""
        self.fit_parts([(features, lengths)])

    def fit_parts(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """As `fit`, of clips that come part by part; only the first is looked at where the statistics are not used."""
        found = (_moments(*part) for part in parts)
        mean, variance = merged(found if self.kind == "global" else islice(found, 1))
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt() + 1e-5)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        if self.kind == "clip" and self.training and fast(features):
            return normalised(features, mask, SMALLEST, FLAT)
        mask = None if mask is None else mask.unsqueeze(1)
        if self.kind == "global":
            features = (features - self.mean.view(1, -1, 1)) / self.deviation.view(1, -1, 1)
        elif self.kind != "none":
            if self.kind == "pcen":
                features = self.energies(features)
            features = self._per_clip(features, mask)
        return masked(features, mask)

    def _per_clip(self, features: Tensor, mask: Tensor | None) -> Tensor:
        count = features.shape[-1] if mask is None else mask.sum(-1, keepdim=True)
        # In a graph for any length a sum over a count is five nodes, a mean is one.
        whole = mask is None and is_exporting()
        bands = features.mean(-1, keepdim=True) if whole else masked(features, mask).sum(-1, keepdim=True) / count
        clip = bands.mean(1, keepdim=True)
        if self.kind == "band":
            mean = bands
        elif self.kind == "blend":
            mean = torch.lerp(clip.expand_as(bands), bands, self.strength.sigmoid().view(1, -1, 1))
        else:
            mean = clip
        centred = masked(features - mean, mask)
        squares = centred.square()
        if whole:
            variance = squares.mean((1, 2), keepdim=True)
        else:
            variance = squares.sum((1, 2), keepdim=True) / (count * features.shape[1])
        normalised = centred / (_deviation(variance) + SMALLEST)
        if self.kind != "residual":
            return normalised
        each = masked(features - bands, mask)
        squares = each.square()
        variance = squares.mean(-1, keepdim=True) if whole else squares.sum(-1, keepdim=True) / count
        return RESIDUAL * normalised + each / (_deviation(variance) + SMALLEST)


def _deviation(variance: Tensor) -> Tensor:
    """Square root whose gradient is 0 where nothing varies; that of 0 is infinite and would make trained strengths NaN."""
    return variance.sqrt() if is_exporting() else variance.clamp(min=FLAT).sqrt()


def _moments(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance of each band (n_mels,) over the valid frames."""
    mask = frame_mask(lengths, features.shape[-1]).unsqueeze(1)
    count = mask.sum()
    mean = (features * mask).sum((0, 2)) / count
    squares = (features - mean.view(1, -1, 1)).square_().mul_(mask)  # in place: these are all clips
    return count, mean, squares.sum((0, 2)) / count


class Pcen(nn.Module):
    """Per-channel energy normalisation of log-mels.

    ``(E / (eps + M)^gain + bias)^root - bias^root``, where M smooths the energies E over time,
    ``M[t] = (1 - s) M[t - 1] + s E[t]``, from ``M[0] = E[0]``; Wang et al. 2017 (arXiv 1607.05666), equation 1,
    with its starting values. Energies are relative to the loudest band of the clip's first frame, so that
    ``eps`` means the same at every recording level.

    Shape
    -----
    ``(n, n_mels, frames)`` of natural log power to the same shape. Causal: padding after a clip's end
    changes nothing before it.
    """

    SMOOTH, EPS = 0.025, 1e-6

    def __init__(self, n_mels: int):
        super().__init__()
        # As logarithms, which keeps them positive.
        self.gain, self.bias, self.root = (
            nn.Parameter(torch.full((n_mels,), math.log(start))) for start in (0.98, 2.0, 0.5)
        )

    def forward(self, features: Tensor) -> Tensor:
        # The first frame is in every clip; a maximum over all would count the padding.
        energies = (features - features[..., :1].amax(1, keepdim=True)).clamp(max=30).exp()
        frames = torch.arange(features.shape[-1], device=features.device)
        age = (frames.unsqueeze(0) - frames.unsqueeze(1)).to(features.dtype)
        weights = torch.where(age >= 0, self.SMOOTH * (1 - self.SMOOTH) ** age.clamp(min=0), torch.zeros_like(age))
        # The first frame holds all of the past before it.
        first = (1 - self.SMOOTH) ** frames.to(features.dtype)
        weights = torch.cat([first.unsqueeze(0), weights[1:]])
        smooth = energies @ weights
        gain, bias, root = (part.exp().view(1, -1, 1) for part in (self.gain, self.bias, self.root))
        normalised = energies / (self.EPS + smooth) ** gain
        return (normalised + bias) ** root - bias**root
