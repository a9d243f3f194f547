"""Teachers in somebody's own Python: four members, or the interface of HEAR."""

from __future__ import annotations

import importlib.util
import sys
import textwrap

import numpy as np
import pytest
from helpers.settings import teacher_settings

from embcomp.audio.clips import Clips
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, MissingDependencyError, TeacherError
from embcomp.teachers import embed, open_teacher

OWN = """
import numpy as np

class Loudness:
    sample_rate, dim = 8000, 1

    def fingerprint(self):
        return "loudness 1"

    def embed(self, waveforms, lengths):
        return ((waveforms**2).sum(1) / lengths)[:, None] ** 0.5

class OverTime(Loudness):
    dim, fingerprint = 2, "over time"

    def embed(self, waveforms, lengths):
        return np.stack([waveforms[:, :6].reshape(-1, 3, 2), -waveforms[:, :6].reshape(-1, 3, 2)], 1)[:, 0]

class Short(Loudness):
    def embed(self, waveforms, lengths):
        return np.zeros((len(lengths) - 1, 1))

class Lacking:
    sample_rate = 8000

class Failing:
    def __init__(self):
        raise ValueError("no weights")

class Nameless(Loudness):
    fingerprint = None

class Odd(Loudness):
    dim = "wide"

class Slow(Loudness):
    sample_rate = 44.1
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return f"python:{tmp_path / 'own.py'}"


def test_a_class_of_four_members_is_a_teacher(own, tones, tmp_path):
    settings = teacher_settings(spec=f"{own}:Loudness")
    teacher = open_teacher(settings)
    clips = Clips(Manifest.read(tones), 16_000, 0.4)
    store = embed(clips, clips.hashes(), teacher, tmp_path / "store")
    waves, lengths = clips.at(8000).batch(np.arange(3))
    expected = [np.sqrt(np.mean(wave[:length] ** 2)) for wave, length in zip(waves, lengths)]
    np.testing.assert_allclose(store.data[:3, 0], expected, rtol=1e-5)
    assert teacher.fingerprint() == open_teacher(settings).fingerprint()
    assert teacher.fingerprint() != open_teacher(teacher_settings(spec=f"{own}:OverTime")).fingerprint()


def test_vectors_over_time_are_pooled_and_windows_are_cut(own):
    waves = np.arange(12, dtype=np.float32).reshape(2, 6) / 10
    lengths = np.array([6, 6])
    found = open_teacher(teacher_settings(spec=f"{own}:OverTime")).embed(waves, lengths)
    np.testing.assert_allclose(found, waves.reshape(2, 3, 2).mean(1), rtol=1e-6)
    frames = open_teacher(teacher_settings(spec=f"{own}:OverTime", frames=3)).embed(waves, lengths)
    np.testing.assert_allclose(frames, waves, rtol=1e-6)
    cut = open_teacher(teacher_settings(spec=f"{own}:Loudness", window=0.25, overlap=0.0))
    long = np.concatenate([np.ones(2000), np.zeros(2000)]).astype(np.float32)[None]
    np.testing.assert_allclose(cut.embed(long, np.array([4000])), [[0.5]])


def test_a_module_is_found_by_its_name(own, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert open_teacher(teacher_settings(spec="python:own:Loudness")).dim == 1
    finally:
        sys.modules.pop("own", None)


@pytest.mark.parametrize(
    "factory, message",
    [
        ("Lacking", r"gives a Lacking that lacks dim \(width of a vector\); fingerprint .*; embed \(embed\(waveforms"),
        ("Failing", r"Failing\(\) failed \(ValueError: no weights\)"),
        ("Loudnes", "has no 'Loudnes'; did you mean 'Loudness'"),
        ("Nameless", r"lacks fingerprint \(a string"),
        ("Odd", "dim must be a whole number"),
        ("Slow", "says sample_rate 44.1; it must be a whole number"),
    ],
)
def test_what_is_wrong_with_a_class_is_said(own, factory, message):
    with pytest.raises(TeacherError, match=message):
        open_teacher(teacher_settings(spec=f"{own}:{factory}"))


def test_what_is_wrong_with_a_place_is_said(own, tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0")
    for spec, error, message in (
        (f"python:{tmp_path}/none.py:A", TeacherError, "no file at .*none.py"),
        (f"python:{tmp_path}/bad.py:A", TeacherError, r"bad.py does not run \(ZeroDivisionError"),
        (
            "python:no_such_module:A",
            MissingDependencyError,
            "needs no_such_module, which is not installed; check its name",
        ),
        ("python:own", ConfigError, "needs a place: python:MODULE:FACTORY"),
    ):
        with pytest.raises(error, match=message):
            open_teacher(teacher_settings(spec=spec))
    short = open_teacher(teacher_settings(spec=f"{own}:Short"))
    with pytest.raises(TeacherError, match=r"embed gave shape \(1, 1, 1\) for 2 clips; it must give \(2, 1\)"):
        short.embed(np.zeros((2, 9), np.float32), np.array([9, 9]))


HEAR = """
import torch

class Model(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = 16000, 3, 2

    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

def load_model(model_file_path=""):
    return Model(float(open(model_file_path).read()) if model_file_path else 1.0)

def get_scene_embeddings(audio, model):
    return model.factor * torch.stack([audio.mean(1), audio.amax(1), torch.full((len(audio),), float(audio.shape[1]))], 1)

def get_timestamp_embeddings(audio, model):
    frames = audio.unfold(1, 100, 100)
    return model.factor * torch.stack([frames.mean(2), frames.amax(2)], 2), None
"""


@pytest.fixture
def hear(tmp_path, monkeypatch):
    (tmp_path / "hear_small.py").write_text(HEAR)
    (tmp_path / "hear_lacking.py").write_text("def load_model():\n    pass\n")
    (tmp_path / "hear_sizes.py").write_text(HEAR.replace("scene_embedding_size, ", "other, ", 1))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("hear_small", "hear_lacking", "hear_sizes"):
        sys.modules.pop(name, None)


def test_scenes_and_timestamps_of_a_hear_module(hear):
    waves = np.random.default_rng(0).normal(0, 0.1, (3, 400)).astype(np.float32)
    lengths = np.array([400, 200, 400])
    waves[1, 200:] = 0
    scenes = open_teacher(teacher_settings(spec="hear:hear_small"))
    found = scenes.embed(waves, lengths)
    assert (scenes.sample_rate, scenes.dim) == (16_000, 3)
    assert found[:, 2].tolist() == [400, 200, 400]  # none is padded
    over = open_teacher(teacher_settings(spec="hear:hear_small", pooling=["max"], frames=2))
    frames = waves[0].reshape(4, 100)
    expected = np.stack([frames.mean(1), frames.max(1)], 1).reshape(2, 2, 2).max(1).ravel()
    np.testing.assert_allclose(over.embed(waves[:1], lengths[:1])[0], expected, rtol=1e-5)
    (hear / "weights.txt").write_text("2.0")
    doubled = open_teacher(teacher_settings(spec=f"hear:hear_small:{hear / 'weights.txt'}"))
    np.testing.assert_allclose(doubled.embed(waves, lengths), 2 * found, rtol=1e-6)
    assert len({scenes.fingerprint(), over.fingerprint(), doubled.fingerprint()}) == 3


@pytest.mark.parametrize(
    "spec, error, message",
    [
        ("hear:hear_none.base", MissingDependencyError, "needs hear_none, which is not installed; check its name"),
        pytest.param(
            *("hear:hear21passt.base", MissingDependencyError, "base needs hear21passt: pip install hear21passt"),
            marks=pytest.mark.skipif(importlib.util.find_spec("hear21passt") is not None, reason="it is installed"),
        ),
        ("hear:hear_lacking", TeacherError, "lacks get_scene_embeddings, get_timestamp_embeddings"),
        ("hear:hear_sizes", TeacherError, "lacks scene_embedding_size, which HEAR asks for"),
        ("hear:hear_small:none.pt", TeacherError, "no weights at none.pt"),
        ("hear", ConfigError, "needs a module"),
    ],
)
def test_modules_that_are_not_hear(hear, spec, error, message):
    with pytest.raises(error, match=message):
        open_teacher(teacher_settings(spec=spec))


def test_packages_add_teachers_by_an_entry_point(tmp_path, monkeypatch):
    from embcomp.config.choices import SECTIONS, added_choices

    (tmp_path / "other_teachers.py").write_text(
        textwrap.dedent("""
        from embcomp.teachers import Teacher
        import numpy as np

        class Length(Teacher):
            name, summary, sample_rate, dim = "length", "how long a clip is", 8000, 1

            @classmethod
            def open(cls, settings, manifest=None):
                return cls()

            def fingerprint(self):
                return "length"

            def embed(self, waveforms, lengths):
                return np.asarray(lengths, np.float32)[:, None]
        """)
    )
    points = {
        "length": "other_teachers:Length",
        "gone": "no_such_module:A",
        "wrong": "other_teachers:np",
        "kmeans": "other_teachers:Length",
    }
    about = tmp_path / "other_teachers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-teachers\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in points.items()]
    (about / "entry_points.txt").write_text("\n".join(["[embcomp.teachers]", *lines]) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    added_choices.cache_clear()
    try:
        assert list(SECTIONS["teacher"].classes)[0] == "kmeans" and "length" in SECTIONS["teacher"].classes
        assert SECTIONS["teacher"].classes["kmeans"].__module__ == "embcomp.teachers.kmeans"
        teacher = open_teacher(teacher_settings(spec="length"))
        assert teacher.embed(np.zeros((1, 4)), np.array([3])).tolist() == [[3.0]]
        with pytest.raises(
            ConfigError, match="'gone' of another package cannot be used: .*does not load .*no_such_module"
        ):
            teacher_settings(spec="gone")
        with pytest.raises(ConfigError, match="'wrong' of another package cannot be used: .*is no class of that name"):
            teacher_settings(spec="wrong")
    finally:
        added_choices.cache_clear()
        sys.modules.pop("other_teachers", None)
