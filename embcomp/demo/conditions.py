"""Recording conditions of the synthetic sounds: room, noise, loudspeaker or line, and level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from embcomp.demo.parts import LOG_1000, between

QUIETEST_FREQUENCY = 40.0  # in Hz; spectral slopes are flat below, where they would otherwise grow without bound
FULL_BAND = (20.0, 1e5)  # in Hz: neither edge touches a sound
TELEPHONE = (200.0, 3600.0)
SMALL_SPEAKER = (350.0, 7000.0)
MUFFLED = (60.0, 2500.0)
NOISY_SHARE = 0.15  # of the clips of the plain set
EDGE_ORDER = 3  # of the Butterworth slopes at the edges of a band: 18 dB per octave


@dataclass(frozen=True)
class Scene:
    """How one clip is recorded.

    Attributes
    ----------
    onset : float
        Silence before the note, in s.
    reverberation : float
        Time in s until the room has fallen by 60 dB.
    wet : float
        Level of the room against the direct sound, as a ratio of root mean squares.
    snr : float
        Level of the sound over the noise, in dB.
    noise_slope : float
        In dB per octave: 0 is white, -3 pink.
    band : tuple of (float, float)
        Edges in Hz of what passes.
    tilt : float
        In dB per octave, about 1 kHz.
    level : float
        Peak of the clip in dB; 0 is full scale.
    """

    onset: float
    reverberation: float
    wet: float
    snr: float
    noise_slope: float
    band: tuple[float, float]
    tilt: float
    level: float


def plain(rng: np.random.Generator, place: np.random.Generator) -> Scene:
    """Conditions of the plain set: a dry room and a good microphone; some of the clips are noisy.

    Parameters
    ----------
    rng : numpy.random.Generator
        For what differs between clips.
    place : numpy.random.Generator
        For what the clips of one group share: the room and the line.
    """
    noisy = rng.uniform() < NOISY_SHARE
    return Scene(
        onset=rng.uniform(0, 0.1),
        reverberation=place.uniform(0.08, 0.3),
        wet=place.uniform(0, 0.15),
        snr=rng.uniform(8, 18) if noisy else rng.uniform(30, 50),
        noise_slope=rng.uniform(-5, -1),
        band=FULL_BAND,
        tilt=place.uniform(-1.5, 1.5),
        level=rng.uniform(-10, -2),
    )


def shifted(rng: np.random.Generator, place: np.random.Generator) -> Scene:
    """Conditions of the shifted set: reverberant rooms, more noise, narrow-band lines; parameters as in :func:`plain`."""
    lines = (TELEPHONE, SMALL_SPEAKER, MUFFLED, FULL_BAND)
    return Scene(
        onset=rng.uniform(0, 0.2),
        reverberation=place.uniform(0.2, 0.7),
        wet=between(0.1, 0.5, place.uniform()),
        snr=rng.uniform(12, 35),
        noise_slope=place.uniform(-7, -1),
        band=lines[place.integers(len(lines))],
        tilt=place.uniform(-2, 2),
        level=rng.uniform(-16, -2),
    )


def any_place(rng: np.random.Generator, place: np.random.Generator) -> Scene:
    """Conditions of the unlabelled set: those of either set, drawn for each group; parameters as in :func:`plain`."""
    return (plain if place.uniform() < 0.5 else shifted)(rng, place)


def record(rng: np.random.Generator, sound: np.ndarray, scene: Scene, sample_rate: int) -> np.ndarray:
    """Record a sound in a scene.

    The room response is white noise with an exponential decay, the simplest model
    of diffuse reverberation (Moorer, "About this reverberation business",
    Computer Music Journal 3(2), 1979). All filters multiply one spectrum and are
    zero-phase, which does not matter here.

    Parameters
    ----------
    rng : numpy.random.Generator
        For the noise and the echoes.
    sound : ndarray of shape (samples,)
        The dry note.
    scene : Scene
        Where it is played.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of shape (onset + samples,), float64
        Peak at `scene.level`.
    """
    onset = int(scene.onset * sample_rate)
    samples = onset + len(sound)
    tail = int(scene.reverberation * sample_rate)
    size = next_fast_len(samples + tail, real=True)
    # One octave is 6.02 dB at a slope of 1 in amplitude.
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    octaves = np.log2(np.maximum(frequencies, QUIETEST_FREQUENCY) / 1000)

    dry = np.zeros(samples)
    dry[onset:] = sound
    echoes = rng.normal(size=tail) * np.exp(-LOG_1000 / tail * np.arange(tail))
    echoes *= scene.wet / np.sqrt(np.sum(echoes**2))
    spectrum = rfft(dry, size) * (1 + rfft(echoes, size))
    hiss = rfft(rng.normal(size=samples), size) * 10 ** (scene.noise_slope * octaves / 20)
    in_room = irfft(spectrum, size)[:samples]
    # The SNR is that in the room; sound and noise then pass through the same line.
    hiss *= rms(in_room) / rms(irfft(hiss, size)[:samples]) * 10 ** (-scene.snr / 20)
    low, high = scene.band
    line = 1 / np.sqrt(1 + (frequencies / high) ** (2 * EDGE_ORDER))
    line /= np.sqrt(1 + (low / np.maximum(frequencies, 1.0)) ** (2 * EDGE_ORDER))
    line *= 10 ** (scene.tilt * octaves / 20)
    clip = irfft((spectrum + hiss) * line, size)[:samples]
    return clip * (10 ** (scene.level / 20) / np.max(np.abs(clip)))


def rms(signal: np.ndarray) -> float:
    """Root mean square of a signal of shape (samples,)."""
    return float(np.sqrt(np.mean(signal**2)))
