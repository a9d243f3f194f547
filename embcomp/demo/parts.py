"""What the synthetic sound families share: an instrument, a note on it, and a few signal parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

SHORTEST, LONGEST = 0.55, 1.1  # length of a note in s, before the silence that precedes it
SOFTEST = 0.25  # velocity of the softest note, the loudest being 1
TIMBRES = (0.2, 0.8)  # from what part of its range each parameter of an instrument is drawn
RELEASE = 0.03  # fade at the end of every note in s, so that the cut is not a click
LOG_1000 = np.log(1000.0)  # a decay of 60 dB in nepers
UPPER_LIMIT = 0.46  # partials above this share of the sample rate are left out, lest they alias


@dataclass(frozen=True)
class Instrument:
    """Timbre that the clips of one group share.

    Attributes
    ----------
    pitch : float
        Middle of its register, in Hz.
    spread : float
        Notes lie at most this many semitones from `pitch`.
    brightness : float
        From 0 (dull) to 1 (bright).
    damping : float
        From 0 (rings, or is held, long) to 1 (dead, or played short).
    noise : float
        From 0 to 1: breath, bow, mallet or snare noise.
    shape : float
        From 0 to 1; each family says what it means by it.
    detune : float
        From 0 to 1: how far partials stray from their ideal ratios.
    """

    pitch: float
    spread: float = 0.0
    brightness: float = 0.5
    damping: float = 0.3
    noise: float = 0.3
    shape: float = 0.5
    detune: float = 0.0


def draw_instrument(rng: np.random.Generator, lowest: float, highest: float) -> Instrument:
    """Draw an instrument whose `pitch` is log-uniform from `lowest` to `highest`, in Hz."""
    pitch = float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))
    brightness, damping, noise, shape, detune = rng.uniform(*TIMBRES, size=5).tolist()
    return Instrument(pitch, rng.uniform(2, 7), brightness, damping, noise, shape, detune)


@dataclass(frozen=True)
class Note:
    """One note on an instrument.

    Attributes
    ----------
    pitch : float
        Fundamental frequency in Hz.
    velocity : float
        From `SOFTEST` to 1.
    hardness : float
        From 0 to 1: brightness of the instrument, more when it is played loud.
    time : ndarray of shape (samples,)
        Time in s.
    sample_rate : int
        In Hz.
    """

    pitch: float
    velocity: float
    hardness: float
    time: np.ndarray
    sample_rate: int

    @property
    def samples(self) -> int:
        """Length in samples."""
        return len(self.time)


def draw_note(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> Note:
    """Draw pitch, velocity and length of one note."""
    pitch = instrument.pitch * 2 ** (rng.uniform(-1, 1) * instrument.spread / 12)
    velocity = rng.uniform(SOFTEST, 1)
    # Louder is brighter on every acoustic instrument: the force on a string, bar or reed gets steeper.
    hardness = float(np.clip(instrument.brightness + 0.6 * (velocity - 0.6), 0, 1))
    samples = int(rng.uniform(SHORTEST, LONGEST) * sample_rate)
    return Note(pitch, velocity, hardness, np.arange(samples) / sample_rate, sample_rate)


def between(low: float, high: float, share: float) -> float:
    """Geometric interpolation: `low` at share 0, `high` at share 1."""
    return low * (high / low) ** share


def modes(note: Note, frequencies, amplitudes, decays, phases, stretch=None) -> np.ndarray:
    """Sum of decaying sines, as a struck body rings.

    Parameters
    ----------
    note : Note
        Gives time and sample rate.
    frequencies, amplitudes, phases : array-like of shape (modes,)
        In Hz, of any scale, and in radians.
    decays : array-like of shape (modes,)
        Time in s until a mode has fallen by 60 dB.
    stretch : ndarray of shape (samples,), optional
        Time in s as the oscillators see it; faster than real time where the pitch is raised.

    Returns
    -------
    ndarray of shape (samples,)
    """
    frequencies, amplitudes, decays, phases = map(np.asarray, (frequencies, amplitudes, decays, phases))
    audible = frequencies < UPPER_LIMIT * note.sample_rate
    clock = note.time if stretch is None else stretch
    total = np.zeros(note.samples)
    for frequency, amplitude, decay, phase in zip(
        frequencies[audible], amplitudes[audible], decays[audible], phases[audible], strict=True
    ):
        total += amplitude * np.exp(-LOG_1000 / decay * note.time) * np.sin(2 * np.pi * frequency * clock + phase)
    return total


def vibrato(rng: np.random.Generator, note: Note, depth: float) -> np.ndarray:
    """Phase in radians of a tone whose pitch sways by `depth` (a share of it), shape (samples,)."""
    rate = rng.uniform(4, 7)
    sway = np.sin(2 * np.pi * rate * note.time + rng.uniform(0, 2 * np.pi))
    # A slow random walk beside the sway: no player holds a pitch exactly.
    drift = np.cumsum(rng.normal(size=note.samples)) * 0.002 / np.sqrt(note.sample_rate)
    return 2 * np.pi * note.pitch * np.cumsum(1 + depth * sway + drift) / note.sample_rate


def held(rng: np.random.Generator, instrument: Instrument, note: Note, attack: float) -> np.ndarray:
    """Envelope of a tone that is driven: it rises in `attack` s, sags and is let go, shape (samples,).

    A damped instrument plays short notes, so that such tones share their
    envelopes with struck and plucked ones.
    """
    length = note.time[-1] * between(1.0, 0.2, instrument.damping * rng.uniform(0.3, 1))
    release = between(0.04, 0.4, rng.uniform())
    rise = 1 - np.exp(-note.time / attack)
    sag = np.exp(-note.time * rng.uniform(0, 2.5))
    return rise * sag * np.exp(-np.maximum(note.time - length, 0) * LOG_1000 / release)


def burst(rng: np.random.Generator, note: Note, decay: float) -> np.ndarray:
    """White noise that falls by 60 dB in `decay` s, shape (samples,)."""
    return rng.normal(size=note.samples) * np.exp(-LOG_1000 / decay * note.time)


def resonator(signal: np.ndarray, frequency: float, bandwidth: float, sample_rate: int) -> np.ndarray:
    """Two-pole resonance of unit gain at 0 Hz (Klatt 1980); frequencies in Hz, shape (samples,)."""
    radius = np.exp(-np.pi * bandwidth / sample_rate)
    poles = [1.0, -2 * radius * np.cos(2 * np.pi * frequency / sample_rate), radius**2]
    return lfilter([sum(poles)], poles, signal)


def scaled(signal: np.ndarray, peak: float = 1.0) -> np.ndarray:
    """The signal with its largest absolute value at `peak`, shape (samples,)."""
    return signal * (peak / max(float(np.max(np.abs(signal))), 1e-12))


def finished(note: Note, signal: np.ndarray) -> np.ndarray:
    """Fade the end, set the peak by the velocity, and return float32 of shape (samples,)."""
    fade = np.clip((note.time[-1] - note.time) / RELEASE, 0, 1)
    return scaled(signal * fade, 0.9 * note.velocity).astype(np.float32)
