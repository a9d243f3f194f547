"""Views of clips: reproducible, each setting by itself, and the same sound at another rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import resample
from embcomp.audio.views import View, ViewedClips, view_settings, views_of
from embcomp.config import TrainingConfig
from embcomp.data.manifest import Manifest

RATE = 16_000
EVERYTHING = View(1, seed=3, gain=6.0, equaliser=10.0, roll=0.1, noise=15.0)


@pytest.fixture
def wave(rng):
    """Half a second of coloured noise, quiet enough for no view to reach full scale."""
    return (0.02 * np.convolve(rng.normal(size=8000), np.hanning(8), "same")).astype(np.float32)


def level(wave):
    return 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)))


def test_seed_number_and_clip_decide_and_nothing_else(wave):
    first = EVERYTHING.apply(wave, RATE, "a.wav")
    np.testing.assert_array_equal(EVERYTHING.apply(wave, RATE, "a.wav"), first)
    assert first.dtype == np.float32 and len(first) == len(wave)
    for other in (replace(EVERYTHING, seed=4), replace(EVERYTHING, number=2)):
        assert not np.allclose(other.apply(wave, RATE, "a.wav"), first, atol=1e-3)
    assert not np.allclose(EVERYTHING.apply(wave, RATE, "b.wav"), first, atol=1e-3)


def test_without_a_change_it_is_the_clip(wave):
    np.testing.assert_allclose(View(1).apply(wave, RATE, "a.wav"), wave, atol=1e-7)


def test_gain_stays_in_its_range_and_below_full_scale(wave):
    found = [level(View(number, gain=6.0).apply(wave, RATE, "a.wav")) - level(wave) for number in range(1, 60)]
    assert -6 <= min(found) < -4 and 4 < max(found) <= 6
    loud = wave / np.abs(wave).max()
    for number in range(1, 20):
        changed = View(number, gain=12.0, equaliser=10.0).apply(loud, RATE, "a.wav")
        assert np.abs(changed).max() <= 1 + 1e-6


def test_roll_turns_the_clip_by_at_most_its_share(wave):
    moves = []
    for number in range(1, 30):
        changed = View(number, roll=0.1).apply(wave, RATE, "a.wav")
        move = next(at for at in range(-800, 801) if np.allclose(np.roll(wave, at), changed, atol=1e-6))
        moves.append(move)
    assert len(set(moves)) > 20 and min(moves) < -300 and max(moves) > 300


def test_noise_is_as_far_below_the_clip_as_it_says(wave):
    def below(signal):
        return np.square(np.abs(np.fft.rfft(signal)))[: 8000 * 4000 // RATE + 1].sum()

    ratios = []
    for number in range(1, 40):
        noise = View(number, noise=10.0).apply(wave, RATE, "a.wav").astype(float) - wave
        ratios.append(10 * np.log10(below(wave) / below(noise)))
        # White: as much below 4 kHz as above.
        assert below(noise) / np.square(np.abs(np.fft.rfft(noise))).sum() == pytest.approx(0.5, abs=0.05)
    assert 10 <= min(ratios) < 13 and 27 < max(ratios) <= 30.01
    silence = np.zeros(800, np.float32)
    np.testing.assert_array_equal(EVERYTHING.apply(silence, RATE, "a.wav"), silence)


def test_the_equaliser_is_smooth_and_within_its_decibels(rng):
    impulse = np.zeros(4000, np.float32)
    impulse[2000] = 0.01
    for number in range(1, 10):
        curve = 20 * np.log10(np.abs(np.fft.rfft(View(number, equaliser=10.0).apply(impulse, RATE, "a")) / 0.01))
        assert np.abs(curve).max() <= 10.01 and np.ptp(curve) > 1
        assert np.abs(np.diff(curve)).max() < 0.2  # dB from one bin of 4 Hz to the next
        other = np.abs(np.fft.rfft(View(number, equaliser=10.0).apply(impulse[::2], RATE // 2, "a")))
        np.testing.assert_allclose(20 * np.log10(other / 0.01), curve[: len(other)], atol=0.05)


def test_one_setting_does_not_change_what_another_draws(wave):
    quiet = replace(EVERYTHING, noise=0.0)
    difference = EVERYTHING.apply(wave, RATE, "a").astype(float) - quiet.apply(wave, RATE, "a")
    assert level(difference) < level(quiet.apply(wave, RATE, "a")) - 8
    moved = replace(quiet, gain=0.0)
    ratio = quiet.apply(wave, RATE, "a") / np.where(
        np.abs(moved.apply(wave, RATE, "a")) > 1e-3, moved.apply(wave, RATE, "a"), np.nan
    )
    assert np.nanstd(ratio) < 1e-3 * np.nanmean(ratio)


def test_at_another_rate_it_is_the_same_sound(rng):
    """Also noise: resampling a view is taking the view of the resampled clip, up to the filter of the resampling."""
    time = np.arange(RATE) / RATE
    clip = (sum(np.sin(2 * np.pi * hertz * time) for hertz in (200, 700, 1900, 2900)) * 0.05).astype(np.float32)
    low = resample(clip, RATE, 8000)
    for number in range(1, 6):
        view = View(number, gain=6.0, equaliser=10.0, roll=0.2, noise=5.0)
        high = view.apply(clip, RATE, "a")
        expected, found = resample(high, RATE, 8000), view.apply(low, 8000, "a")
        inside = slice(400, -400)  # the ends of a circle and of a filter differ
        error = expected[inside] - found[inside]
        # Noise near half the lower rate falls to the filter.
        assert level(error) < level(found[inside]) - 15


def test_clips_in_a_view(tmp_path):
    manifest = Manifest.read(write_tones(tmp_path, groups=2, clips=1))
    clips = Clips(manifest, RATE, 0.3)
    viewed = ViewedClips.viewed(clips, EVERYTHING)
    for row in range(len(clips)):
        expected = EVERYTHING.apply(clips.decode(row), RATE, manifest.ids[row])
        np.testing.assert_array_equal(viewed.decode(row), expected)
    assert viewed.at(8000).view == EVERYTHING and viewed.at(8000).sample_rate == 8000
    assert view_settings(clips) == {} and view_settings(viewed)["view"]["seed"] == 3
    assert viewed.hashes() == clips.hashes()


def test_the_views_of_a_training():
    training = TrainingConfig(views=2, gain=3.0, equaliser=4.0, roll=0.05, noise=20.0, view_seed=7)
    assert views_of(training) == [View(number, 7, 3.0, 4.0, 0.05, 20.0) for number in (1, 2)]
    assert views_of(TrainingConfig()) == []
