"""Test clips changed in known ways: noise, gain, a narrower band, a delay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.config import AudioConfig
from embcomp.errors import ConfigError, choose
from embcomp.storage.files import fingerprint

FLOOR = 1e-10  # mean square below which a clip is silent: -100 dB


@dataclass(frozen=True)
class Shift:
    """One change of the waveform.

    Attributes
    ----------
    kind : {"noise", "gain", "band", "delay"}
        ``noise``: white Gaussian noise, `amount` dB below the clip's own power (its signal-to-noise ratio;
        silence stays silent). ``gain``: times `amount` dB; nothing is clipped at full scale. ``band``: a low-pass at
        `amount` Hz, Butterworth of tenth order. ``delay``: `amount` seconds of silence before; what goes past the
        longest clip possible is cut.
    amount : float
    """

    kind: str
    amount: float

    @property
    def words(self) -> str:
        """For tables: ``noise 20 dB``."""
        return f"{self.kind} {self.amount:g} {UNITS[self.kind]}"

    def apply(self, waveform: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """Change a waveform.

        Parameters
        ----------
        waveform : ndarray of shape (samples,), float32
        sample_rate : int
            Hz.
        rng : numpy.random.Generator
            Of this clip; only noise draws from it.

        Returns
        -------
        ndarray of float32
            As long, or for a delay longer.
        """
        return _CHANGES[self.kind](waveform, self.amount, sample_rate, rng).astype(np.float32)


def parse_shift(text: str, audio: AudioConfig) -> Shift:
    """Read ``noise:20`` (dB), ``gain:-12`` (dB), ``band:4000`` (Hz) or ``delay:0.1`` (s).

    Raises
    ------
    ConfigError
        The kind is unknown (the nearest is named), or the amount is no number or out of range.
    """
    kind, _, amount = (part.strip() for part in text.partition(":"))
    unit = choose("shift in evaluation.shifts", kind, UNITS)
    low, high = {"band": (20, audio.sample_rate / 2), "delay": (0, audio.seconds)}.get(kind, (-120, 120))
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if not low <= value < high:
        raise ConfigError(
            f"evaluation.shifts: {text!r} must be {kind}:NUMBER, at least {low:g} and below {high:g} {unit}"
        )
    return Shift(kind, value)


@dataclass(frozen=True)
class ShiftedClips(Clips):
    """Clips that are changed as they are decoded; the noise of a clip depends on its id and the seed alone."""

    shift: Shift = Shift("gain", 0.0)
    seed: int = 0

    def decode(self, row: int) -> np.ndarray:
        """Clip `row`, changed, as float32 (samples,)."""
        rng = np.random.default_rng(int(fingerprint([self.manifest.ids[row], self.seed]), 16))
        return self.shift.apply(super().decode(row), self.sample_rate, rng)[: self.samples]


def _noise(waveform: np.ndarray, ratio: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    power = np.mean(np.square(waveform, dtype=np.float64))
    if power < FLOOR:
        return waveform
    noise = rng.standard_normal(len(waveform))
    # By the noise's own power, so that the ratio holds for a short clip too.
    noise *= math.sqrt(power / np.mean(np.square(noise)) / 10 ** (ratio / 10))
    return waveform + noise


def _gain(waveform: np.ndarray, decibels: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    return waveform * 10 ** (decibels / 20)


def _band(waveform: np.ndarray, hertz: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(10, hertz, fs=sample_rate, output="sos"), waveform)


def _delay(waveform: np.ndarray, seconds: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([np.zeros(round(seconds * sample_rate), dtype=np.float32), waveform])


UNITS = {"noise": "dB", "gain": "dB", "band": "Hz", "delay": "s"}
_CHANGES: dict[str, Callable[..., np.ndarray]] = {"noise": _noise, "gain": _gain, "band": _band, "delay": _delay}
