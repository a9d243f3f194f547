"""The log-mel front end as plain matrix products, for runtimes that have no Fourier transform."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.audio.logmel import LogMel

LEAST_BLOCK = 16  # samples; smaller ones would be too many to put together


def paddings(logmel: LogMel) -> tuple[int, int, int]:
    """Zeros before and after a waveform, and samples before the window in its frame of ``n_fft``.

    A window shorter than ``n_fft`` is centred in the frame; the rest of the frame is multiplied by zero and is
    not computed. With these paddings frame t starts at ``t * hop_length``.
    """
    offset = (logmel.n_fft - logmel.win_length) // 2
    before = logmel.n_fft // 2 - offset
    return before, 2 * (logmel.n_fft // 2) - logmel.n_fft + logmel.win_length - before, offset


class MatrixLogMel(nn.Module):
    """`LogMel` in single precision, with the discrete Fourier transform in two steps.

    With ``n_fft = rows * columns`` a frame is a matrix of that shape; a small transform of its columns, a rotation and
    a small transform of its rows are the whole one (Cooley & Tukey 1965, "An Algorithm for the Machine Calculation
    of Complex Fourier Series", equations 2-5). One matrix for all of it would take a megabyte.

    Differs from `LogMel`, which computes in double precision, by about 1e-6 after the logarithm, and by up to
    1e-4 in a quiet band beside a loud one.

    Parameters
    ----------
    logmel : LogMel
    samples : int
        Length of every waveform.

    Shape
    -----
    ``(n, samples)`` to ``(n, n_mels, frames)``.
    """

    def __init__(self, logmel: LogMel, samples: int):
        super().__init__()
        n_fft, self.hop_length, self.floor = logmel.n_fft, logmel.hop_length, logmel.floor
        self.frames = int(logmel.frames(samples))
        # Frames are made of blocks, of which a hop and a frame both hold a whole number.
        self.block = math.gcd(n_fft, self.hop_length)
        before = n_fft // 2
        length = -(-max(before + samples, (self.frames - 1) * self.hop_length + n_fft) // self.block) * self.block
        self.padding = (before, length - before - samples)
        self.rows = max(size for size in range(1, math.isqrt(n_fft) + 1) if n_fft % size == 0)
        self.columns = n_fft // self.rows
        kept = self.columns // 2 + 1  # the other half of a real signal's spectrum is its mirror image
        before = (n_fft - logmel.win_length) // 2
        window = F.pad(logmel.window.double(), (before, n_fft - logmel.win_length - before))
        self._keep("window", window)
        self._keep("first", _wave(torch.arange(self.rows), torch.arange(self.rows), self.rows))
        self._keep("turn", _wave(torch.arange(self.columns), torch.arange(self.rows), n_fft))
        self._keep("second", _wave(torch.arange(self.columns), torch.arange(kept), self.columns))
        # Bin k1 + rows * k2 of the spectrum is at (k1, k2).
        bins = torch.arange(self.rows)[:, None] + self.rows * torch.arange(kept)
        used = bins < logmel.filters.shape[1]
        filters = torch.where(used, logmel.filters[:, bins.clamp(max=logmel.filters.shape[1] - 1)], 0.0)
        self._keep("filters", filters.flatten(1).T)

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float().contiguous(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        n = waveforms.shape[0]
        frames = self._frames(F.pad(waveforms, self.padding)) * self.window
        columns = frames.reshape(n, self.frames, self.rows, self.columns).transpose(2, 3)
        real, imaginary = columns @ self.first[0], columns @ self.first[1]
        real, imaginary = (
            real * self.turn[0] - imaginary * self.turn[1],
            real * self.turn[1] + imaginary * self.turn[0],
        )
        real, imaginary = real.transpose(2, 3), imaginary.transpose(2, 3)
        power = (real @ self.second[0] - imaginary @ self.second[1]).square()
        power = power + (real @ self.second[1] + imaginary @ self.second[0]).square()
        mel = power.flatten(2) @ self.filters
        return torch.log(mel + self.floor).transpose(1, 2)

    def _frames(self, padded: Tensor) -> Tensor:
        """Overlapping frames (n, frames, n_fft) of waveforms (n, samples)."""
        n_fft = self.rows * self.columns
        if self.block < LEAST_BLOCK:
            return padded.unfold(1, n_fft, self.hop_length)[:, : self.frames]
        blocks = padded.reshape(len(padded), -1, self.block)
        hop, last = self.hop_length // self.block, (self.frames - 1) * self.hop_length // self.block + 1
        return torch.cat([blocks[:, step : step + last : hop] for step in range(n_fft // self.block)], dim=2)


def _wave(times: Tensor, frequencies: Tensor, period: int) -> Tensor:
    """Cosine and negative sine of a product of whole numbers, (2, times, frequencies), float64."""
    # The remainder is taken in whole numbers, so that large products lose no digits.
    angles = 2 * math.pi * (times[:, None] * frequencies % period).double() / period
    return torch.stack([angles.cos(), -angles.sin()])
