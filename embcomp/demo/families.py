"""Eight families of synthetic sounds, each a physical or spectral model of how such a thing sounds.

Registers and envelopes overlap on purpose: what distinguishes the families is
the ratio of their partials, how those decay, and their noise.

References
----------
K. Karplus and A. Strong, "Digital synthesis of plucked-string and drum timbres", Comput. Music J. 7(2), 1983.
D. A. Jaffe and J. O. Smith, "Extensions of the Karplus-Strong plucked-string algorithm", Comput. Music J. 7(2), 1983.
J. M. Chowning, "The synthesis of complex audio spectra by means of frequency modulation", JAES 21(7), 1973.
N. H. Fletcher and T. D. Rossing, "The Physics of Musical Instruments", 2nd ed., Springer, 1998.
D. H. Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67(3), 1980.
G. E. Peterson and H. L. Barney, "Control methods used in a study of the vowels", J. Acoust. Soc. Am. 24(2), 1952.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, lfilter

from embcomp.demo.parts import (
    LOG_1000,
    UPPER_LIMIT,
    Instrument,
    between,
    burst,
    draw_note,
    finished,
    held,
    modes,
    resonator,
    scaled,
    vibrato,
)

# Transverse modes of a thin bar with free ends go as (2n + 1)^2 with 3.0112 for the first (Fletcher & Rossing, ch. 2).
BAR_RATIOS = np.array([3.0112, 5.0, 7.0, 9.0, 11.0, 13.0]) ** 2 / 3.0112**2
# Zeros of the Bessel functions J_m, divided by the first: modes 01 11 21 02 31 12 41 22 03 51 (ibid., ch. 3).
MEMBRANE_RATIOS = np.array([1.0, 1.593, 2.136, 2.295, 2.653, 2.917, 3.156, 3.500, 3.598, 3.647])
# Partials of a church bell against its prime: hum, prime, tierce, quint, nominal and upper ones (ibid., ch. 21).
BELL_RATIOS = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.66, 3.0, 4.0, 5.33])
# First three formants in Hz of men's /i/ /e/ /a/ /o/ /u/, rounded from Peterson & Barney's table; a fourth is fixed.
VOWELS = np.array([[270, 2290, 3010], [530, 1840, 2480], [730, 1090, 2440], [570, 840, 2410], [300, 870, 2240]])
FORMANT_BANDWIDTHS = (70.0, 100.0, 140.0, 220.0)  # in Hz
FOURTH_FORMANT = 3400.0  # in Hz


def string(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Plucked string: a noise burst runs round a delay line with a two-point average (Karplus & Strong 1983).

    `shape` is where it is plucked. The loop is tuned with a second, fractional
    two-point average; Jaffe & Smith use an all-pass there, which keeps more of the highs.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything that differs from clip to clip.
    instrument : Instrument
        Timbre of the group.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of shape (samples,), float32
        Peak below 1.
    """
    note = draw_note(rng, instrument, sample_rate)
    period = sample_rate / note.pitch
    average = between(0.1, 0.5, 1 - note.hardness)
    delay = int(period - average)
    fraction = period - average - delay
    loop = np.convolve([1 - average, average], [1 - fraction, fraction])
    decay = between(2.5, 0.25, instrument.damping) * rng.uniform(0.7, 1.3)
    gain = np.exp(-LOG_1000 / (note.pitch * decay))
    excitation = np.zeros(note.samples)
    pluck = rng.normal(size=delay)
    softness = 0.85 * (1 - note.hardness)
    excitation[:delay] = lfilter([1 - softness], [1, -softness], pluck - pluck.mean())
    # Plucking at a share of the length silences the harmonics with a node there: a comb.
    place = max(int(period * between(0.06, 0.5, instrument.shape)), 1)
    excitation[place:] -= 0.9 * excitation[:-place].copy()
    ringing = lfilter([1.0], np.concatenate([[1.0], np.zeros(delay - 1), -gain * loop]), excitation)
    thump = resonator(burst(rng, note, 0.05), 180.0, 60.0, sample_rate)
    return finished(note, scaled(ringing) + 0.3 * instrument.noise * scaled(thump))


def bar(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Struck bar with free ends: modes at `BAR_RATIOS` (Fletcher & Rossing, ch. 2). `shape` is where it is struck.

    Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    ratios = strayed(rng, BAR_RATIOS, 0.012 * instrument.detune)
    steepness = 2.2 - 1.9 * note.hardness
    strike = 0.25 + np.abs(np.cos(np.pi * (np.arange(len(ratios)) + 1) * instrument.shape))
    decays = between(2.2, 0.35, instrument.damping) * ratios ** -rng.uniform(0.4, 1.0)
    ringing = modes(note, note.pitch * ratios, strike * ratios**-steepness, decays, np.zeros(len(ratios)))
    click = burst(rng, note, between(0.02, 0.06, rng.uniform()))
    return finished(note, scaled(ringing) + 0.3 * instrument.noise * note.hardness * scaled(click))


def pipe(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Blown pipe: steady harmonics with the noise of the jet around them (Fletcher & Rossing, ch. 16 and 17).

    `shape` runs from an open pipe (all harmonics) to a stopped one (odd ones).
    Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    phase = vibrato(rng, note, 0.006 * rng.uniform())
    attack = between(0.012, 0.08, rng.uniform())
    tone = np.zeros(note.samples)
    for harmonic in range(1, 13):
        if harmonic * note.pitch > UPPER_LIMIT * sample_rate:
            break
        even = 1 - 0.95 * instrument.shape if harmonic % 2 == 0 else 1.0
        level = even * harmonic ** -(3.6 - 1.6 * note.hardness) * between(0.6, 1.6, rng.uniform())
        # Higher harmonics start later: the soft start of a flute.
        rise = 1 - np.exp(-note.time / (attack * (1 + 0.25 * harmonic)))
        tone += level * rise * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    breath = rng.normal(size=note.samples)
    jet = resonator(breath, note.pitch, 0.15 * note.pitch, sample_rate)
    jet = scaled(jet) + 0.5 * scaled(lfilter([1, -0.95], [1, -0.5], breath))
    chiff = 1 + 2 * rng.uniform() * np.exp(-note.time / 0.03)
    air = between(0.04, 0.4, instrument.noise)
    return finished(note, held(rng, instrument, note, attack) * (scaled(tone) + air * chiff * jet))


def fm(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Bowed or blown tone by frequency modulation, the index following the loudness (Chowning 1973).

    `shape` picks the ratio of modulator to carrier: 1 (all harmonics), 2 (odd ones) or 3.
    Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    ratio = 1 + min(int(3 * instrument.shape), 2)
    attack = between(0.006, 0.12, rng.uniform())
    envelope = held(rng, instrument, note, attack)
    # Carson's rule: sidebands reach (index + 1) modulator frequencies past the carrier.
    widest = (UPPER_LIMIT * sample_rate / note.pitch - 1) / ratio - 1
    index = min(between(1.5, 5.0, note.hardness), max(widest, 0.3))
    phase = vibrato(rng, note, 0.008 * rng.uniform())
    beat = 2 * np.pi * instrument.detune * rng.uniform(0, 3) * note.time
    tone = np.sin(phase + index * (0.35 + 0.65 * envelope / envelope.max()) * np.sin(ratio * phase + beat))
    scrape = lfilter([1, -0.9], [1, -0.6], rng.normal(size=note.samples)) * (1 + 0.8 * np.sin(phase))
    return finished(note, envelope * (tone + between(0.01, 0.12, instrument.noise) * scaled(scrape)))


def vowel(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Sung vowel: a glottal pulse train through four formants (Klatt 1980; formants of Peterson & Barney 1952).

    `shape` is the length of the vocal tract; which vowel is sung differs from clip to clip.
    Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    phase = vibrato(rng, note, 0.02 * rng.uniform())
    cycle = (phase / (2 * np.pi)) % 1.0
    # Flow of the glottis, open for part of the cycle; its slope is what drives the tract.
    opening = between(0.75, 0.4, note.hardness)
    flow = np.where(cycle < opening, np.sin(np.pi * cycle / opening) ** 2, 0.0)
    shimmer = lfilter([0.02], [1, -0.98], rng.normal(size=note.samples))
    source = np.diff(flow, prepend=0.0) * (1 + shimmer)
    breath = rng.normal(size=note.samples) * (0.3 + flow) * np.std(source)
    voice = source + between(0.03, 0.8, instrument.noise) * breath
    mix = rng.uniform(0, 0.35)
    first, second = rng.choice(len(VOWELS), size=2, replace=False)
    formants = [*((1 - mix) * VOWELS[first] + mix * VOWELS[second]), FOURTH_FORMANT]
    for formant, width in zip(formants, FORMANT_BANDWIDTHS, strict=True):
        frequency = formant * between(0.85, 1.3, instrument.shape)
        if frequency < UPPER_LIMIT * sample_rate:
            voice = resonator(voice, frequency, width * rng.uniform(0.8, 1.6), sample_rate)
    attack = between(0.006, 0.08, rng.uniform())
    return finished(note, held(rng, instrument, note, attack) * voice)


def snare(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Snare drum: a band of rattling noise over two modes of the shell (Fletcher & Rossing, ch. 18).

    `shape` is the middle of the band. Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    decay = between(1.3, 0.15, instrument.damping) * rng.uniform(0.7, 1.3)
    middle = between(700.0, 4000.0, instrument.shape) * between(0.8, 1.3, note.hardness)
    edges = [middle / 2.2, min(middle * 2.2, UPPER_LIMIT * sample_rate)]
    rattle = lfilter(*butter(1, edges, "bandpass", fs=sample_rate), burst(rng, note, decay))
    ratios = np.array([1.0, 1.593])
    bend = note.time + 0.08 * 0.03 * (1 - np.exp(-note.time / 0.03))
    head = modes(note, note.pitch * ratios, [1.0, 0.6], 0.6 * decay * ratios**-0.5, [0.0, 0.0], bend)
    return finished(note, between(0.3, 2.0, instrument.noise) * scaled(rattle) + scaled(head))


def membrane(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Circular drum head: modes at `MEMBRANE_RATIOS` (Fletcher & Rossing, ch. 3), the pitch falling as it relaxes.

    `shape` runs from a strike at the middle, which rouses the modes without
    nodal diameters, to one near the rim. Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    ratios = strayed(rng, MEMBRANE_RATIOS, 0.015 * instrument.detune)
    diametral = np.array([0, 1, 2, 0, 3, 1, 4, 2, 0, 5])
    strike = instrument.shape ** (diametral * 0.5) * ratios ** -(2.4 - 1.9 * note.hardness)
    decays = between(0.9, 0.12, instrument.damping) * ratios ** -rng.uniform(0.3, 0.9)
    # Tension is higher while the head is far out: the oscillators' clock runs ahead at first.
    depth, settle = 0.12 * note.velocity * rng.uniform(), between(0.02, 0.1, rng.uniform())
    clock = note.time + depth * settle * (1 - np.exp(-note.time / settle))
    ringing = modes(note, note.pitch * ratios, strike, decays, np.zeros(len(ratios)), clock)
    slap = lfilter([1.0], [1.0, -0.6], burst(rng, note, between(0.03, 0.12, rng.uniform())))
    return finished(note, scaled(ringing) + 0.4 * instrument.noise * scaled(slap))


def bell(rng: np.random.Generator, instrument: Instrument, sample_rate: int) -> np.ndarray:
    """Bell: partials at `BELL_RATIOS`, each split in two that beat (Fletcher & Rossing, ch. 21).

    `shape` moves the weight from the hum to the upper partials. Parameters and returns are those of :func:`string`.
    """
    note = draw_note(rng, instrument, sample_rate)
    ratios = strayed(rng, BELL_RATIOS, 0.015 * instrument.detune)
    balance = np.exp(-((np.log(ratios) - np.log(between(0.7, 2.0, instrument.shape))) ** 2) / 1.2)
    levels = balance * ratios ** -(1.0 - 0.9 * note.hardness) * between(0.5, 2.0, rng.uniform(size=len(ratios)))
    decays = between(3.0, 0.3, instrument.damping) * ratios ** -rng.uniform(0.4, 0.9)
    split = 1 + rng.uniform(0.0005, 0.004, size=len(ratios))
    phases = rng.uniform(0, 2 * np.pi, size=(2, len(ratios)))
    ringing = modes(note, note.pitch * ratios, levels, decays, phases[0])
    ringing += modes(note, note.pitch * ratios * split, 0.6 * levels, decays, phases[1])
    click = burst(rng, note, between(0.02, 0.06, rng.uniform()))
    return finished(note, scaled(ringing) + 0.25 * instrument.noise * scaled(click))


def strayed(rng: np.random.Generator, ratios: np.ndarray, amount: float) -> np.ndarray:
    """Ratios moved by a normal share of `amount` each, the first left alone, shape (modes,)."""
    factors = np.exp(amount * rng.normal(size=len(ratios)))
    factors[0] = 1.0
    return ratios * factors


FAMILIES: dict[str, Callable[[np.random.Generator, Instrument, int], np.ndarray]] = {
    "string": string,
    "bar": bar,
    "pipe": pipe,
    "fm": fm,
    "vowel": vowel,
    "snare": snare,
    "membrane": membrane,
    "bell": bell,
}
