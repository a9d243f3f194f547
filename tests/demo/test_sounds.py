"""The demo sets: the physics of the sounds, and the files."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from embcomp import demo
from embcomp.demo import FAMILIES, Instrument, conditions
from embcomp.demo.families import BAR_RATIOS, BELL_RATIOS, MEMBRANE_RATIOS
from embcomp.errors import ConfigError

soundfile = pytest.importorskip("soundfile")

RATE = 16000  # in Hz
SMALL = {"clips": 24, "shifted_clips": 16}
# Undamped and noiseless, so that a model's partials can be measured.
CLEAN = Instrument(pitch=220.0, damping=0.0, noise=0.0, brightness=0.9, shape=0.3)


def contents(folder):
    """Hash of every file under a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(folder):
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def level(sound, frequency):
    """Largest magnitude within 1 % of a frequency, in dB under the spectrum's peak."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * RATE))
    axis = np.fft.rfftfreq(8 * RATE, 1 / RATE)
    near = np.abs(axis - frequency) < 0.01 * frequency
    return 20 * np.log10(spectrum[near].max() / spectrum.max())


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return demo.render(tmp_path_factory.mktemp("demo"), **SMALL)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sample_rate", [8000, RATE, 44100])
def test_every_family_is_finite_loud_and_unclipped(family, sample_rate):
    rng = np.random.default_rng(5)
    for _ in range(6):
        instrument = demo.draw_instrument(rng, 60.0, 1200.0)
        sound = FAMILIES[family](rng, instrument, sample_rate)
        assert sound.dtype == np.float32 and sound.ndim == 1
        assert 0.5 * sample_rate < len(sound) < 1.2 * sample_rate
        assert np.isfinite(sound).all()
        assert 0.1 < np.abs(sound).max() < 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_extreme_instruments_sound(family, extreme):
    instrument = Instrument(300.0, 0.0, extreme, extreme, extreme, extreme, extreme)
    sound = FAMILIES[family](np.random.default_rng(0), instrument, RATE)
    assert np.isfinite(sound).all() and 0.1 < np.abs(sound).max() < 1


@pytest.mark.parametrize("pitch", [98.0, 220.0, 441.3, 830.0])
def test_string_sounds_at_the_pitch_asked_for(pitch):
    sound = FAMILIES["string"](np.random.default_rng(1), replace(CLEAN, pitch=pitch), RATE)[800:8800]
    power = np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2
    correlation = np.fft.irfft(power)[: len(sound)]
    shortest = int(RATE / (1.5 * pitch))
    lag = shortest + np.argmax(correlation[shortest : int(1.5 * RATE / pitch)])
    # A parabola through the peak: a whole lag is 5 % of the highest pitch.
    before, here, after = correlation[lag - 1 : lag + 2]
    period = lag + 0.5 * (before - after) / (before - 2 * here + after)
    assert RATE / period == pytest.approx(pitch, rel=0.01)


@pytest.mark.parametrize(
    ("family", "ratios"), [("bar", BAR_RATIOS[:4]), ("membrane", MEMBRANE_RATIOS[:4]), ("bell", BELL_RATIOS[:5])]
)
def test_partials_are_where_theory_puts_them(family, ratios):
    sound = FAMILIES[family](np.random.default_rng(2), CLEAN, RATE)
    if family == "membrane":
        sound = sound[int(0.15 * RATE) :]  # by then the pitch has settled
    for ratio in ratios:
        assert level(sound, 220.0 * ratio) > -60
    between = np.sqrt(ratios[0] * ratios[1])
    assert level(sound, 220.0 * between) < level(sound, 220.0 * ratios[1]) - 6


def test_mode_ratios_are_those_of_the_equations():
    scipy_special = pytest.importorskip("scipy.special")
    zeros = sorted(zero for order in range(8) for zero in scipy_special.jn_zeros(order, 4))
    np.testing.assert_allclose(MEMBRANE_RATIOS, np.array(zeros[:10]) / zeros[0], atol=2e-3)
    # A bar with free ends rings where cos(x) cosh(x) = 1, at frequencies that go as x squared.
    from scipy.optimize import brentq

    roots = [brentq(lambda x: np.cos(x) - 1 / np.cosh(x), n * np.pi, (n + 1) * np.pi) for n in range(1, 7)]
    np.testing.assert_allclose(BAR_RATIOS, (np.array(roots) / roots[0]) ** 2, rtol=1e-3)


def test_stopped_pipe_lacks_even_harmonics():
    stopped = FAMILIES["pipe"](np.random.default_rng(3), replace(CLEAN, shape=1.0), RATE)
    assert level(stopped, 440.0) < level(stopped, 660.0) - 6


def test_record_keeps_the_level_and_the_band():
    scene = conditions.Scene(0.1, 0.3, 0.3, 60.0, -3.0, conditions.TELEPHONE, 0.0, -6.0)
    click = np.zeros(RATE // 2)
    click[0] = 1.0
    clip = conditions.record(np.random.default_rng(0), click, scene, RATE)
    assert len(clip) == RATE // 2 + RATE // 10
    assert np.abs(clip).max() == pytest.approx(10 ** (-6 / 20))
    power = np.abs(np.fft.rfft(clip, RATE)) ** 2  # one bin per Hz
    assert power[6000:].mean() < 0.05 * power[1000:2000].mean()
    assert power[:60].mean() < 0.01 * power[1000:2000].mean()


def test_manifest_is_complete_and_groups_hold_one_label(sets):
    for name, folder, count in (("demo", sets.plain, 24), ("demo_shifted", sets.shifted, 16)):
        table = rows(folder)
        assert list(table[0]) == ["path", "label", "group", "dataset"]
        assert len(table) == count == len({row["path"] for row in table})
        assert {row["path"] for row in table} == {f"audio/{path.name}" for path in (folder / "audio").iterdir()}
        assert {row["dataset"] for row in table} == {name}
        assert set(Counter(row["label"] for row in table).values()) == {count // len(FAMILIES)}
        for row in table:
            assert row["group"].startswith(f"{name}_{row['label']}_")
        assert len({(row["group"], row["label"]) for row in table}) == len({row["group"] for row in table})
        assert "synthetic" in (folder / "README.txt").read_text().lower()


def test_clips_are_16_bit_mono_audible_and_differ_in_length(sets):
    lengths = set()
    for folder in (sets.plain, sets.shifted):
        for row in rows(folder):
            info = soundfile.info(folder / row["path"])
            assert (info.samplerate, info.channels, info.subtype, info.format) == (RATE, 1, "PCM_16", "FLAC")
            sound, _ = soundfile.read(folder / row["path"])
            assert 0.05 < np.abs(sound).max() <= 0.99
            assert 0.5 < info.duration < 1.4
            lengths.add(info.frames)
    assert len(lengths) > 30


def test_same_seed_same_bytes_other_seed_other_bytes(sets, tmp_path):
    demo.render(tmp_path / "again", **SMALL)
    assert contents(tmp_path / "again") == contents(sets.plain.parent)
    demo.render(tmp_path / "other", seed=1, **SMALL)
    ours, others = contents(sets.plain.parent), contents(tmp_path / "other")
    assert ours.keys() == others.keys()
    assert not any(ours[name] == others[name] for name in ours if name.endswith(".flac"))


def test_larger_set_holds_the_smaller_one(sets, tmp_path):
    larger = demo.render(tmp_path, clips=40, shifted_clips=8)
    ours, theirs = contents(sets.plain / "audio"), contents(larger.plain / "audio")
    assert ours.items() < theirs.items()


def test_full_sets_have_several_clips_in_every_group():
    for setting, clips in ((demo.PLAIN, demo.CLIPS), (demo.SHIFTED, demo.SHIFTED_CLIPS)):
        groups = Counter((family, instrument) for family, instrument, _ in demo.plan(setting, clips))
        assert len(groups) == len(FAMILIES) * setting.instruments
        assert len(set(groups.values())) == 1 and min(groups.values()) >= 4


def test_second_call_does_no_work(sets, monkeypatch):
    def refuse(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr(demo, "render_clip", refuse)
    calls = []
    assert demo.render(sets.plain.parent, **SMALL, progress=lambda *done: calls.append(done)) == sets
    assert calls[-1] == (40, 40)
    with pytest.raises(AssertionError, match="rendered again"):
        demo.render(sets.plain.parent, seed=7, **SMALL)
    assert len(rows(sets.plain)) == 24, "a failed rendering must leave the old set alone"


def test_missing_clip_is_rendered_again(tmp_path):
    sets = demo.render(tmp_path, clips=8, shifted_clips=8)
    before = contents(tmp_path)
    next((sets.plain / "audio").iterdir()).unlink()
    demo.render(tmp_path, clips=8, shifted_clips=8)
    assert contents(tmp_path) == before


def test_a_folder_whose_record_cannot_be_read_is_kept(tmp_path):
    sets = demo.render(tmp_path, clips=8, shifted_clips=8)
    (sets.shifted / "demo.json").write_text("{")
    with pytest.raises(ConfigError, match="contains other files"):
        demo.render(tmp_path, clips=8, shifted_clips=8)


def test_progress_counts_both_sets(tmp_path):
    calls = []
    demo.render(tmp_path, clips=9, shifted_clips=8, progress=lambda *done: calls.append(done))
    assert calls == [(done, 17) for done in range(1, 18)]


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "diary.txt").write_text("mine")
    with pytest.raises(ConfigError, match="contains other files"):
        demo.render(tmp_path, **SMALL)
    assert (tmp_path / "demo" / "diary.txt").read_text() == "mine"
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "demo").write_text("a file")
    with pytest.raises(ConfigError, match="is a file"):
        demo.render(tmp_path / "else", **SMALL)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 1.5}, {"clips": 7}, {"shifted_clips": 0}, {"sample_rate": 4000}]
)
def test_settings_out_of_range_are_named(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        demo.render(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_the_pool_has_other_instruments_in_the_conditions_of_both_sets_and_no_labels(tmp_path):
    sets = demo.render(tmp_path, **SMALL, pool_clips=48)
    with open(sets.pool / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48 and {row["label"] for row in rows} == {""}
    assert len({row["group"] for row in rows}) == 48  # as many instruments as there are clips of a family
    others = {value for folder in (sets.plain, sets.shifted) for value in contents(folder / "audio").values()}
    assert not others & set(contents(sets.pool / "audio").values())
    places = [conditions.any_place(*(np.random.default_rng([seed, part]) for part in (0, 1))) for seed in range(40)]
    assert {scene.band for scene in places} > {conditions.FULL_BAND}
    assert 0.2 < np.mean([scene.reverberation < 0.3 for scene in places]) < 0.9


def test_no_pool_is_rendered_unless_asked_for(tmp_path):
    assert not demo.render(tmp_path, **SMALL).pool.exists()
