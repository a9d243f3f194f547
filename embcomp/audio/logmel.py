"""Log-mel spectrograms: one front end for teachers, students and exported models."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.errors import ConfigError

BLOCK = 256  # frames


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear to 1 kHz (200/3 Hz a step), then logarithmic (27 steps to 6.4 times)."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000.0, hz * 3 / 200, 15.0 + 27.0 * np.log(np.maximum(hz, 1e-10) / 1000.0) / np.log(6.4))


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangular mel filters of unit area, as librosa's ``filters.mel`` (Slaney scale and norm).

    Parameters
    ----------
    sample_rate : int
        Hz.
    fmin, fmax : float
        Edges of the lowest and highest band, Hz.

    Returns
    -------
    ndarray of shape (n_mels, n_fft // 2 + 1), float64
    """
    edges = mel_to_hz(np.linspace(hz_to_mel(fmin), hz_to_mel(fmax), n_mels + 2))
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]


class LogMel(nn.Module):
    """Waveforms to log-mel spectrograms, ``log(power_mel + floor)``.

    The same numbers as ``librosa.feature.melspectrogram(pad_mode="constant")``,
    to 1e-5 after the logarithm. Frames are centred: frame t looks at samples
    around ``t * hop_length``, and the signal is padded with zeros.

    Parameters
    ----------
    sample_rate : int, default=16000
        Hz.
    n_fft, win_length, hop_length : int, default=512, 400, 160
        Samples.
    n_mels : int, default=64
    fmin, fmax : float, default=0, None
        Hz; None is half the sample rate.
    floor : float, default=1e-5
        Added before the logarithm, so that silence is finite.

    Shape
    -----
    Input ``(*, samples)``, output ``(*, n_mels, frames)`` with
    ``frames = 1 + samples // hop_length``.

    Examples
    --------
    >>> LogMel()(torch.zeros(2, 16000)).shape
    torch.Size([2, 64, 101])
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        n_mels: int = 64,
        fmin: float = 0.0,
        fmax: float | None = None,
        floor: float = 1e-5,
    ):
        super().__init__()
        fmax = sample_rate / 2 if fmax is None else fmax
        if not 0 <= fmin < fmax <= sample_rate / 2:
            raise ConfigError(f"mel bands need 0 <= fmin < fmax <= {sample_rate / 2:g} Hz, not {fmin:g} and {fmax:g}")
        if not 0 < win_length <= n_fft:
            raise ConfigError(f"the window ({win_length} samples) must fit into n_fft ({n_fft})")
        filters = mel_filterbank(sample_rate, n_fft, n_mels, fmin, fmax)
        empty = int((filters.max(axis=1) == 0).sum())
        if empty:
            raise ConfigError(
                f"{empty} of {n_mels} mel bands hold no frequency bin; use fewer bands or a longer n_fft than {n_fft}"
            )
        self.n_fft, self.win_length, self.hop_length, self.n_mels, self.floor = (
            n_fft,
            win_length,
            hop_length,
            n_mels,
            floor,
        )
        self.register_buffer(
            "window", torch.hann_window(win_length, periodic=True, dtype=torch.float64), persistent=False
        )
        # The lower half of the bands ends where few bins are passed: most of the products would be with zeros.
        middle = n_mels // 2
        ends = [0, *(1 + row.nonzero()[0].max() for row in filters)]
        self._parts = middle, int(max(ends[: middle + 1])), int(filters[middle].nonzero()[0].min())
        self.register_buffer("filters", torch.from_numpy(filters.astype(np.float32)), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        leading, half = waveforms.shape[:-1], self.n_fft // 2
        padded = F.pad(waveforms.reshape(-1, waveforms.shape[-1]), (half, half))
        frames = padded.unfold(-1, self.n_fft, self.hop_length)
        if padded.device.type != "cpu" or padded.requires_grad:
            mel = self._bands(frames).transpose(-1, -2)
        else:
            # Piece by piece, so that what lies between the steps stays in the cache of the processor.
            clips, count = frames.shape[:2]
            mel = torch.empty(clips, self.n_mels, count, dtype=self.filters.dtype)
            together = max(1, BLOCK // count)
            for some, out in zip(frames.split(together), mel.split(together), strict=True):
                for piece, place in zip(some.split(BLOCK, dim=1), out.split(BLOCK, dim=2), strict=True):
                    place.copy_(self._bands(piece).transpose(-1, -2))
        return mel.reshape(*leading, self.n_mels, mel.shape[-1])

    def _bands(self, frames: Tensor) -> Tensor:
        """Log-mels (..., n_mels) of frames (..., n_fft)."""
        left = (self.n_fft - self.win_length) // 2
        window = F.pad(self.window, (left, self.n_fft - self.win_length - left)).double()
        # In double precision: in single, a quiet band beside a loud one is off by up to 1e-4 after the logarithm.
        spectrum = torch.fft.rfft(frames * window)
        # Not through view_as_real: a sum over a last axis of two numbers takes longer than the transform.
        power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).to(self.filters.dtype)
        middle, low_end, high_start = self._parts
        low = power[..., :low_end] @ self.filters[:middle, :low_end].T
        high = power[..., high_start:] @ self.filters[middle:, high_start:].T
        return torch.log(torch.cat([low, high], dim=-1) + self.floor)

    def frames(self, lengths: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """Frames that `lengths` samples of audio fill."""
        return 1 + lengths // self.hop_length
