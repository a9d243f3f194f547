"""Views: clips changed once and for all, so that a teacher and a student get the same changed sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.config import TrainingConfig
from embcomp.storage.files import fingerprint

POINTS = 6  # of the equaliser's curve
TOP = 8000.0  # Hz: its last point; above, the gain stays
BAND = 4000.0  # Hz: noise and sound are compared below it
RANGE = 20.0  # dB between the strongest noise and the weakest
SILENCE = 1e-10  # mean square below which a clip is silent: -100 dB


@dataclass(frozen=True)
class View:
    """One changed version of every clip.

    What is drawn for a clip depends on its id, the seed and the number alone, and is said in hertz and shares of the
    clip's time: at another sample rate it is the same changed sound.

    Attributes
    ----------
    number : int
        From 1 on; 0 would be the clip itself.
    seed : int
    gain : float
        dB, either way. What goes past full scale is turned down until it does not.
    equaliser : float
        dB, either way: gains at 6 points, equally far apart on the mel scale up to 8 kHz, with straight lines between.
    roll : float
        The clip is turned round in time by at most this share of itself, in whole milliseconds.
    noise : float
        dB: white noise, so much to 20 dB more below the clip's own power, both below 4 kHz; 0 adds none.
    """

    number: int
    seed: int = 0
    gain: float = 0.0
    equaliser: float = 0.0
    roll: float = 0.0
    noise: float = 0.0

    def apply(self, waveform: np.ndarray, sample_rate: int, clip: str) -> np.ndarray:
        """The view of a clip.

        Parameters
        ----------
        waveform : ndarray of shape (samples,), float32
        sample_rate : int
            Hz.
        clip : str
            Its id.

        Returns
        -------
        ndarray of shape (samples,), float32
        """
        rng = np.random.default_rng(int(fingerprint([clip, self.seed, self.number]), 16))
        # All are drawn, so that one setting does not change what another draws.
        gain, roll, ratio, *points = rng.uniform(size=3 + POINTS)
        count = len(waveform)
        spectrum = np.fft.rfft(np.asarray(waveform, dtype=np.float64))
        hertz = np.arange(len(spectrum)) * sample_rate / count
        if self.equaliser:
            curve = np.interp(_mel(hertz), np.linspace(0, _mel(TOP), POINTS), 2 * np.array(points) - 1)
            spectrum *= 10 ** (self.equaliser * curve / 20)
        if self.noise:
            spectrum += _noise(spectrum, hertz <= BAND, count, self.noise + RANGE * ratio, rng)
        # By whole milliseconds, which are whole samples at the usual rates.
        milliseconds = round((2 * roll - 1) * self.roll * count / sample_rate * 1000)
        changed = np.roll(np.fft.irfft(spectrum, count), round(milliseconds / 1000 * sample_rate))
        changed *= 10 ** ((2 * gain - 1) * self.gain / 20)
        full = max(1.0, float(np.abs(waveform).max(initial=0)))
        return (changed * min(1.0, full / max(float(np.abs(changed).max(initial=0)), 1e-30))).astype(np.float32)


def views_of(training: TrainingConfig) -> list[View]:
    """The views that a training asks for."""
    settings = {"gain": training.gain, "equaliser": training.equaliser, "roll": training.roll, "noise": training.noise}
    return [View(number, training.view_seed, **settings) for number in range(1, training.views + 1)]


@dataclass(frozen=True)
class ViewedClips(Clips):
    """Clips that are changed as they are decoded."""

    view: View = View(0)

    @classmethod
    def viewed(cls, clips: Clips, view: View) -> ViewedClips:
        """A view of `clips`."""
        return cls(clips.manifest, clips.sample_rate, clips.seconds, clips.channel, clips.ffmpeg, view)

    def decode(self, row: int, lost: Callable[[str], None] = lambda kind: None) -> np.ndarray:
        """Clip `row`, changed, as float32 (samples,)."""
        return self.view.apply(super().decode(row, lost), self.sample_rate, self.manifest.ids[row])


def view_settings(clips: Clips) -> dict[str, Any]:
    """What a store of `clips` says of the view that they are; nothing of clips as they are."""
    return {"view": asdict(clips.view)} if isinstance(clips, ViewedClips) else {}


def _mel(hertz: np.ndarray | float) -> np.ndarray | float:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def _noise(
    spectrum: np.ndarray, compared: np.ndarray, count: int, decibels: float, rng: np.random.Generator
) -> np.ndarray:
    """Spectrum of white noise `decibels` below the clip over the bins `compared`; of silence nothing.

    Bins are drawn from the lowest on: a lower sample rate has the same noise, as far as it reaches.
    """
    drawn = rng.standard_normal((len(spectrum), 2)) @ np.array([1, 1j])
    power = np.square(np.abs(spectrum[compared])).sum()
    if 2 * power / count**2 < SILENCE:
        return np.zeros_like(spectrum)
    return drawn * np.sqrt(power / np.square(np.abs(drawn[compared])).sum() / 10 ** (decibels / 10))
