"""Changed test clips: each change is what it says, and a student that ignores it is not moved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.audio.features import compute_features
from embcomp.audio.shifts import Shift, ShiftedClips, parse_shift
from embcomp.config import AudioConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.pipeline import run

RATE = 16_000
AUDIO = AudioConfig()


def power(wave) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def decibels(one, other) -> float:
    return 10 * np.log10(power(one) / power(other))


@pytest.fixture
def wave(rng):
    return (0.1 * rng.standard_normal(RATE)).astype(np.float32)


@pytest.mark.parametrize("ratio", [-5.0, 0.0, 20.0, 40.0])
@pytest.mark.parametrize("samples", [200, RATE])
def test_noise_has_the_ratio_it_says(wave, rng, ratio, samples):
    found = Shift("noise", ratio).apply(wave[:samples], RATE, rng)
    assert decibels(wave[:samples], found.astype(np.float64) - wave[:samples]) == pytest.approx(ratio, abs=0.1)


def test_silence_stays_silent_and_finite(rng):
    silent = np.zeros(400, dtype=np.float32)
    for kind, amount in (("noise", 0), ("gain", -12), ("band", 4000), ("delay", 0.01)):
        assert not Shift(kind, amount).apply(silent, RATE, rng).any()


@pytest.mark.parametrize("amount", [-40.0, -6.0, 12.0])
def test_gain_is_exact_and_does_not_clip(wave, rng, amount):
    found = Shift("gain", amount).apply(10 * wave, RATE, rng)
    assert decibels(found, 10 * wave) == pytest.approx(amount, abs=1e-4)
    np.testing.assert_allclose(found, 10 * wave * 10 ** (amount / 20), rtol=1e-5)


@pytest.mark.parametrize("hertz", [1000, 4000])
def test_a_low_pass_keeps_what_lies_below_and_removes_what_lies_above(rng, hertz):
    time = np.arange(RATE) / RATE
    shift = Shift("band", hertz)
    for factor, change in ((0.25, 0.0), (0.8, -0.5), (1.0, -3.0)):
        tone = np.sin(2 * np.pi * factor * hertz * time)
        assert decibels(shift.apply(tone, RATE, rng)[2000:], tone[2000:]) == pytest.approx(change, abs=0.5)
    tone = np.sin(2 * np.pi * 1.9 * hertz * time)
    assert decibels(shift.apply(tone, RATE, rng)[2000:], tone[2000:]) < -50


def test_a_delay_shifts_by_samples(wave, rng):
    found = Shift("delay", 0.1).apply(wave, RATE, rng)
    assert not found[:1600].any()
    np.testing.assert_array_equal(found[1600:], wave)


@pytest.mark.parametrize(
    "text, message",
    [
        ("nois:20", "did you mean 'noise'"),
        ("noise", "noise:NUMBER"),
        ("gain:loud", "gain:NUMBER"),
        ("gain:nan", "gain:NUMBER"),
        ("band:8000", "below 8000 Hz"),
        ("band:5", "at least 20"),
        ("delay:2", "below 2 s"),
        ("delay:-0.1", "at least 0"),
    ],
)
def test_a_shift_that_is_none_is_refused_in_words(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_shift(text, AUDIO)


def test_a_shift_says_what_it_is():
    texts = ("noise:20", "gain: -12", "band:4000", "delay:0.1")
    assert [parse_shift(text, AUDIO).words for text in texts] == [
        "noise 20 dB", "gain -12 dB", "band 4000 Hz", "delay 0.1 s"
    ]  # fmt: skip


def test_noise_depends_on_clip_and_seed_and_not_on_the_order(tones):
    manifest = Manifest.read(tones)
    shift = Shift("noise", 10.0)
    clips = ShiftedClips(manifest, RATE, 0.4, shift=shift)
    turned = ShiftedClips(manifest.select(np.arange(23, -1, -1)), RATE, 0.4, shift=shift)
    np.testing.assert_array_equal(clips.decode(3), turned.decode(20))
    assert not np.array_equal(clips.decode(3), ShiftedClips(manifest, RATE, 0.4, shift=shift, seed=1).decode(3))
    plain = Clips(manifest, RATE, 0.4)
    noise = [clips.decode(row) - plain.decode(row) for row in (0, 1)]
    samples = min(map(len, noise))
    assert abs(np.corrcoef(noise[0][:samples], noise[1][:samples])[0, 1]) < 0.1


def test_a_clip_does_not_outgrow_the_longest_possible(tones, tmp_path):
    clips = ShiftedClips(Manifest.read(tones), RATE, 0.3, shift=Shift("delay", 0.2))
    assert max(len(clips.decode(row)) for row in range(6)) == round(0.3 * RATE)
    features = compute_features(clips, clips.hashes(), AudioConfig(seconds=0.3, n_mels=24), tmp_path / "features")
    assert features.load(clips.manifest.ids)[0].shape[-1] == 1 + round(0.3 * RATE) // 320


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Steady tones, of whole-clip normalised students: a gain cannot matter, noise louder than the tone must."""
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "home", groups=4, clips=2, name="home", noise=0.0)
    shifts = ["gain:-10", "gain:-10.0", "noise:-20", "delay:0.1"]
    content = tiny(root, seeds=[0], evaluation={"bootstrap": 20, "shifts": shifts})
    content["variants"] = [{"name": "no teacher", "transfer": {"method": "none"}}, {"name": "compressed"}]
    content["data"]["cross"] = []
    content["training"]["steps"] = 60
    return run(parse(content), tmp_path_factory.mktemp("run") / "out"), content


def test_students_and_probes_on_features_are_scored_on_changed_clips(finished):
    table = finished[0].scores
    rows = table[table["setting"] == "robustness"]
    assert set(rows["test_dataset"]) == {"home"}
    assert set(rows["shift"]) == {"gain -10 dB", "noise -20 dB", "delay 0.1 s"}
    assert {"no teacher", "compressed", "probe: log-mel", "probe: student of compressed"} <= set(rows["variant"])
    # A teacher would have to embed the changed clips anew.
    assert not rows["variant"].str.contains("kmeans").any()
    assert (rows["n"] == 16).all() and (rows["train_dataset"] == "home").all()


def test_a_gain_does_not_move_a_student_that_normalises_each_clip(finished):
    result = finished[0]
    value = result.scores[result.scores["seed"] == "all"].pivot_table(
        index="variant", columns="shift", values="value", aggfunc=list
    )
    quiet, unchanged = value.loc["compressed", "gain -10 dB"], value.loc["compressed", ""]
    np.testing.assert_allclose(quiet, unchanged[: len(quiet)], atol=0.1)
    assert value.loc["compressed", "noise -20 dB"][0] < unchanged[0]


def test_changed_clips_are_kept_apart_and_made_once(finished):
    result, content = finished
    stages = result.folder / "stages"
    assert len(list((stages / "shifted").iterdir())) == 3 and len(list((stages / "features").iterdir())) == 1
    again = run(parse(content), result.folder)
    assert again.made == 0
    pd.testing.assert_frame_equal(again.scores, result.scores)


def test_an_unknown_shift_stops_a_run_before_any_work(finished, tmp_path):
    content = {**finished[1], "evaluation": {"shifts": ["dealy:0.1"]}}
    with pytest.raises(ConfigError, match="did you mean 'delay'"):
        run(parse(content), tmp_path / "out")
    assert not (tmp_path / "out/stages/features").exists()
