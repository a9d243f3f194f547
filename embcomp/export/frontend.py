"""The log-mel front end as plain matrix products, for graphs that have no Fourier transform."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.audio.logmel import LogMel


def paddings(logmel: LogMel) -> tuple[int, int, int]:
    """Zeros before and after a waveform, and samples before the window in its frame of ``n_fft``.

    A window shorter than ``n_fft`` lies in its middle; what is left of it is multiplied by zero and
    need not be computed. The paddings make frame t begin at ``t * hop_length``.
    """
    offset = (logmel.n_fft - logmel.win_length) // 2
    before = logmel.n_fft // 2 - offset
    return before, 2 * (logmel.n_fft // 2) - logmel.n_fft + logmel.win_length - before, offset


class MatrixLogMel(nn.Module):
    """`LogMel` in single precision: the discrete Fourier transform is a strided convolution.

    Differs from `LogMel`, which computes in double precision, by about 1e-6 after the logarithm, and by up to
    1e-4 in a quiet band beside a loud one.

    Parameters
    ----------
    logmel : LogMel

    Shape
    -----
    ``(n, samples)`` to ``(n, n_mels, frames)``.
    """

    def __init__(self, logmel: LogMel):
        super().__init__()
        self.before, self.after, offset = paddings(logmel)
        self.hop_length, self.floor, self.bins = logmel.hop_length, logmel.floor, logmel.n_fft // 2 + 1
        # In whole numbers, so that large products of frequency and time lose no digits.
        turns = torch.arange(self.bins)[:, None] * (torch.arange(logmel.win_length) + offset) % logmel.n_fft
        angles = 2 * math.pi * turns.double() / logmel.n_fft
        kernel = torch.cat([angles.cos(), angles.sin()]) * logmel.window.double()
        self.register_buffer("kernel", kernel.float()[:, None], persistent=False)
        self.register_buffer("filters", logmel.filters.clone(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        padded = F.pad(waveforms.unsqueeze(1), (self.before, self.after))
        squared = F.conv1d(padded, self.kernel, stride=self.hop_length).square()
        power = squared[:, : self.bins] + squared[:, self.bins :]
        return torch.log(self.filters @ power + self.floor)
