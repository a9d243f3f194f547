"""Classical descriptors: librosa's against librosa itself and against sounds whose answer is known; openSMILE's adapter."""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import sys
import types
from pathlib import Path

import filelock
import numpy as np
import pytest
from helpers.settings import teacher_settings

from embcomp.errors import ConfigError, MissingDependencyError
from embcomp.teachers import LibrosaTeacher, open_teacher
from embcomp.teachers import librosa as librosa_teacher
from embcomp.teachers.librosa import COMPILED, SAMPLE_RATE, import_librosa, names


@pytest.fixture(scope="module")
def teacher():
    return open_teacher(teacher_settings(spec="librosa"))


def described(teacher, wave):
    return dict(zip(names(), teacher.embed(wave[None].astype(np.float32), np.array([len(wave)]))[0]))


def test_there_are_five_hundred_and_each_has_its_name(teacher):
    assert teacher.dim == len(names()) == len(set(names())) == 500


def test_all_that_librosa_compiles_while_it_is_imported_is_imported_under_a_lock(monkeypatch, tmp_path):
    """numba's cache of compiled ufuncs breaks where several processes fill it."""
    (root,) = importlib.util.find_spec("librosa").submodule_search_locations
    ufuncs = {
        ".".join(path.relative_to(Path(root).parent).with_suffix("").parts)
        for path in Path(root).rglob("*.py")
        if "@numba.guvectorize" in path.read_text(encoding="utf-8")
    }
    assert ufuncs
    assert ufuncs <= set(COMPILED)

    monkeypatch.setattr(librosa_teacher.tempfile, "gettempdir", lambda: str(tmp_path))
    held = []

    def load(module, *rest, **more):
        (lock,) = tmp_path.iterdir()
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(lock, timeout=0):
            return None
        held.append(module)

    monkeypatch.setattr(librosa_teacher, "imported", load)
    import_librosa()
    assert held == [*COMPILED, "librosa"]


def test_librosa_is_imported_where_no_lock_can_be_made(monkeypatch, tmp_path):
    monkeypatch.setattr(librosa_teacher.tempfile, "gettempdir", lambda: str(tmp_path / "missing" / "\0"))
    assert import_librosa().__name__ == "librosa"


def test_mfcc_are_librosas(teacher, rng):
    import librosa

    wave = rng.normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    mfcc = librosa.feature.mfcc(y=wave, sr=SAMPLE_RATE)
    found = described(teacher, wave)
    np.testing.assert_allclose([found[f"mean mfcc {n}"] for n in range(20)], mfcc.mean(1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose([found[f"std mfcc {n}"] for n in range(20)], mfcc.std(1), rtol=1e-3, atol=1e-3)


def test_pitch_brightness_and_tempo_are_found(teacher, rng):
    at = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    low, high = (described(teacher, 0.5 * np.sin(2 * np.pi * pitch * at)) for pitch in (440, 3520))
    chroma = [low[f"mean chroma {n}"] for n in range(12)]
    assert int(np.argmax(chroma)) == 9  # A
    assert low["median centroid 0"] == pytest.approx(440, rel=0.1)
    assert high["median centroid 0"] == pytest.approx(3520, rel=0.1)
    clicks = np.zeros(6 * SAMPLE_RATE)
    for start in range(0, len(clicks), SAMPLE_RATE // 2):
        clicks[start : start + 200] = rng.normal(0, 0.5, 200)
    found = described(teacher, clicks)
    assert found["tempo"] == pytest.approx(120, rel=0.05) and found["onsets a second"] == pytest.approx(2, rel=0.15)
    assert found["pulse"] > described(teacher, rng.normal(0, 0.1, 6 * SAMPLE_RATE))["pulse"]


@pytest.mark.parametrize("samples", [1, 100, 3000, 22050])
@pytest.mark.parametrize("level", [0.0, 1e-4, 1.0])
def test_whatever_the_clip_the_numbers_are_finite(teacher, rng, samples, level):
    wave = (level * rng.normal(0, 0.3, (1, samples))).astype(np.float32)
    assert np.isfinite(teacher.embed(wave, np.array([samples]))).all()


def test_a_clip_does_not_depend_on_its_batch_and_shares_are_clips(teacher, rng):
    waves = rng.normal(0, 0.1, (2, 12_000)).astype(np.float32)
    lengths = np.array([12_000, 8000])
    together = teacher.embed(waves, lengths)
    np.testing.assert_array_equal(together[1], teacher.embed(waves[1:, :8000], lengths[1:])[0])
    halves = open_teacher(teacher_settings(spec="librosa", frames=2))
    assert halves.dim == 1000 and halves.fingerprint() != teacher.fingerprint()
    expected = teacher.embed(waves[0].reshape(2, 6000), np.array([6000, 6000]))
    np.testing.assert_array_equal(halves.embed(waves[:1], lengths[:1])[0], expected.ravel())


def test_it_takes_no_argument():
    with pytest.raises(ConfigError, match="takes no argument, not 'mfcc'"):
        teacher_settings(spec="librosa:mfcc")
    assert LibrosaTeacher.missing() == ""


class Smile:
    """In place of openSMILE's own: mean and peak."""

    feature_names = ("mean", "peak")

    def __init__(self, feature_set, level):
        self.about = (feature_set, level)

    def process_signal(self, wave, rate):
        import pandas as pd

        assert rate == 16_000 and len(wave) >= 1600
        return pd.DataFrame([[wave.mean(), wave.max()]], columns=self.feature_names)


def test_opensmile_is_asked_for_functionals_of_the_set(monkeypatch, rng):
    module = types.ModuleType("opensmile")
    module.FeatureSet = enum.Enum("FeatureSet", {"eGeMAPSv02": 1, "ComParE_2016": 2})
    module.FeatureLevel = enum.Enum("FeatureLevel", {"Functionals": 1})
    module.Smile, module.__version__ = Smile, "2.5"
    monkeypatch.setitem(sys.modules, "opensmile", module)
    teacher = open_teacher(teacher_settings(spec="opensmile:eGeMAPSv02", frames=2))
    wave = rng.normal(0, 0.1, (1, 6400)).astype(np.float32)
    halves = wave.reshape(2, 3200)
    found = teacher.embed(wave, np.array([6400]))[0]
    np.testing.assert_allclose(found, np.stack([halves.mean(1), halves.max(1)], 1).ravel(), rtol=1e-6)
    assert teacher.embed(wave, np.array([3])).shape == (1, 4)
    with pytest.raises(ConfigError, match="no set 'eGeMAPS'; did you mean 'eGeMAPSv02'"):
        open_teacher(teacher_settings(spec="opensmile:eGeMAPS"))
    with pytest.raises(ConfigError, match="needs a set"):
        teacher_settings(spec="opensmile")


def test_opensmile_itself_where_it_is_installed(rng):
    pytest.importorskip("opensmile")
    teacher = open_teacher(teacher_settings(spec="opensmile:eGeMAPSv02"))
    wave = rng.normal(0, 0.1, (2, 16_000)).astype(np.float32)
    found = teacher.embed(wave, np.array([16_000, 200]))
    assert found.shape == (2, 88) and np.isfinite(found).all()


def test_without_opensmile_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MissingDependencyError, match="opensmile:eGeMAPSv02 needs opensmile: pip install opensmile"):
        open_teacher(teacher_settings(spec="opensmile:eGeMAPSv02"))
