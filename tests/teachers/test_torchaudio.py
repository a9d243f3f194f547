"""torchaudio's bundles, by a stand-in whose compiled extension does not load."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch
from helpers.settings import teacher_settings
from helpers.torchaudios import broken_torchaudio

from embcomp.errors import ConfigError, MissingDependencyError, TeacherError
from embcomp.teachers import TorchaudioTeacher, open_teacher
from embcomp.teachers.torchaudio_import import import_torchaudio, shield


@pytest.fixture(autouse=True)
def modules_as_they_were():
    kept = {name: one for name, one in sys.modules.items() if name.partition(".")[0] == "torchaudio"}
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    def lay(**options):
        monkeypatch.syspath_prepend(broken_torchaudio(tmp_path / "site", **options))

    return lay


def opened(**options):
    return open_teacher(teacher_settings(spec="torchaudio:TINY_BASE", **options))


def test_python_code_is_used_where_the_extension_does_not_load(stand_in):
    stand_in()
    with pytest.raises(OSError, match="libcudart"):
        importlib.import_module("torchaudio")
    assert import_torchaudio()._extension.AVAILABLE is False
    assert importlib.import_module("torchaudio.compliance.kaldi").fbank  # whoever imports it next gets it, too
    assert TorchaudioTeacher.missing() == ""


def test_what_does_not_import_at_all_is_as_if_absent(stand_in):
    stand_in(python=False)
    assert "does not import" in TorchaudioTeacher.missing()
    with pytest.raises(
        MissingDependencyError,
        match=r"torchaudio:TINY_BASE: torchaudio does not import \(.*nothing_of_this_name.*\): pip install",
    ):
        opened()
    shield()
    assert importlib.util.find_spec("torchaudio") is None


def test_without_the_package_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    shield()
    with pytest.raises(MissingDependencyError, match=r"torchaudio is missing: pip install -e '.\[torchaudio\]'"):
        opened()


def test_layers_and_lengths(stand_in):
    stand_in()
    teacher = opened(batch=2)
    assert (teacher.sample_rate, teacher.dim, teacher.states) == (16_000, 6, 3)
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.1, (4, 4000)).astype(np.float32)
    lengths = np.array([4000, 2000, 4000, 30])
    together = teacher.embed(waves, lengths)
    for row, length in enumerate(lengths):
        alone = teacher.embed(waves[row : row + 1, :length], lengths[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)
    model = import_torchaudio().pipelines.TINY_BASE.get_model()
    with torch.no_grad():
        states = [state[0] for state in model.extract_features(torch.from_numpy(waves[:1]))[0]]
    for options, expected in (
        ({}, states[2]),
        ({"layer": 1}, states[0]),
        ({"layer": -2}, states[1]),
        ({"layer_weights": [1, 1, 0]}, (states[0] + states[1]) / 2),
    ):
        found = opened(**options).embed(waves[:1], lengths[:1])[0]
        np.testing.assert_allclose(found, expected.mean(0), atol=1e-6)
    assert opened(layer=3).fingerprint() == teacher.fingerprint() != opened(layer=2).fingerprint()


@pytest.mark.parametrize(
    "spec, options, error, message",
    [
        ("torchaudio:TINY_BAS", {}, ConfigError, "no bundle 'TINY_BAS'; did you mean 'TINY_BASE'"),
        ("torchaudio:FAR_BASE", {}, TeacherError, "weights of torchaudio:FAR_BASE cannot be had .*TORCH_HOME"),
        ("torchaudio:TINY_BASE", {"layer": 4}, ConfigError, "layer is 4; .* hidden states 1 to 3"),
        ("torchaudio:TINY_BASE", {"layer": 0}, ConfigError, "is not given by torchaudio"),
        ("torchaudio:TINY_BASE", {"layer_weights": [1.0]}, ConfigError, "layer_weights are 1; .* has 3"),
        ("torchaudio", {}, ConfigError, "needs a bundle"),
    ],
)
def test_mistakes_are_named(stand_in, spec, options, error, message):
    stand_in()
    with pytest.raises(error, match=message):
        open_teacher(teacher_settings(spec=spec, **options))
