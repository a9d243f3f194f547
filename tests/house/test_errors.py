"""The error tree: what a caller already catches, and messages that name the nearest choice."""

from __future__ import annotations

import inspect
import pickle

import pytest

from embcomp import errors
from embcomp.errors import AudioError, BadClip, ConfigError, EmbcompError, choose, nearest


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.ManifestError, ValueError),
        (errors.StoreError, ValueError),
        (errors.ArtifactError, ValueError),
        (errors.AudioError, ValueError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_each_error_is_also_the_builtin_a_caller_catches(kind, builtin):
    with pytest.raises(builtin, match="what is wrong"):
        raise kind("what is wrong")
    assert issubclass(kind, EmbcompError)


def test_every_error_of_the_module_is_an_embcomp_error():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
    kinds = [kind for kind in kinds if not issubclass(kind, Warning)]
    assert len(kinds) >= 8
    assert all(issubclass(kind, EmbcompError) for kind in kinds)


def test_a_bad_clip_says_its_row_path_and_reason():
    assert str(BadClip(7, "a/b.wav", "has no samples")) == "row 7: a/b.wav: has no samples"


def test_an_audio_error_keeps_its_clips_in_order():
    clips = [BadClip(3, "b.wav", "no"), BadClip(2, "a.wav", "no")]
    assert AudioError("two", clips).bad == tuple(clips)
    assert AudioError("one").bad == ()


def test_an_audio_error_passes_between_processes():
    error = AudioError("two clips", [BadClip(3, "b.wav", "no")])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.bad) == (str(error), error.bad)


@pytest.mark.parametrize(("name", "meant"), [("liner", "linear"), ("MLP", None), ("pcaa", "pca"), ("zzzz", None)])
def test_nearest_names_what_was_probably_meant_and_always_the_choices(name, meant):
    said = nearest(name, ["linear", "mlp", "pca"])
    assert said.endswith("One of: linear, mlp, pca")
    assert said.startswith(f"did you mean {meant!r}?" if meant else "One of")


def test_nearest_takes_choices_that_can_be_read_once():
    assert "did you mean 'mlp'" in nearest("mpl", iter(["linear", "mlp"]))


def test_choose_returns_the_entry():
    assert choose("thing", "b", {"a": 1, "b": 2}) == 2


@pytest.mark.parametrize("name", ["none", ["none"], None])
def test_choose_refuses_what_is_not_in_the_table(name):
    with pytest.raises(ConfigError, match="unknown transfer method .*One of: nine, compressed"):
        choose("transfer method", name, {"nine": 1, "compressed": 2})
