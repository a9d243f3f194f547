"""Artifact folders: what goes in comes out, and nothing damaged comes out at all."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embcomp.errors import ArtifactError, EmbcompError
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool)


@pytest.fixture
def saved(tmp_path):
    return save_artifact(tmp_path / "a", "compressor", {"dim": 3}, {"w": torch.arange(6.0).view(2, 3)})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 1)], ids=str)
def test_tensors_come_back_bit_for_bit(tmp_path, dtype, shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(3).to(dtype)
    save_artifact(tmp_path / "a", "thing", {}, {"w": tensor})
    _, found = load_artifact(tmp_path / "a", "thing")
    assert found["w"].dtype == dtype and found["w"].shape == tensor.shape
    assert torch.equal(found["w"], tensor)


def test_the_config_comes_back_with_kind_and_format(saved):
    config, _ = load_artifact(saved, "compressor")
    assert config == {"kind": "compressor", "format": 1, "dim": 3}


def test_views_parameters_and_shared_tensors_can_be_saved(tmp_path):
    base = torch.nn.Parameter(torch.arange(12.0).view(3, 4))
    save_artifact(tmp_path / "a", "thing", {}, {"t": base.T, "same": base, "part": base[1:]})
    _, found = load_artifact(tmp_path / "a", "thing")
    assert torch.equal(found["t"], base.detach().T) and torch.equal(found["same"], found["t"].T)
    assert torch.equal(found["part"], base.detach()[1:])


def test_the_folder_holds_weights_config_and_notes_only(tmp_path):
    save_artifact(tmp_path / "a", "thing", {}, {"w": torch.zeros(1)}, {"history.json": [1, 2]})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "config.json",
        "history.json",
        "weights.safetensors",
    ]
    assert load_artifact(tmp_path / "a", "thing")[0] == {"kind": "thing", "format": 1}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save_artifact(tmp_path / name, "thing", {"x": 1}, {"w": torch.ones(3), "v": torch.zeros(2)})
    for file in ("config.json", "weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_artifact_is_replaced_whole(saved):
    save_artifact(saved, "compressor", {"dim": 4}, {"v": torch.zeros(1)})
    config, tensors = load_artifact(saved, "compressor")
    assert config["dim"] == 4 and list(tensors) == ["v"]


def test_an_artifact_does_not_replace_a_folder_of_other_things(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.wav").write_text("precious")
    with pytest.raises(ArtifactError, match=r"holds other files \(song.wav\), which a compressor must not replace"):
        save_artifact(tmp_path / "music", "compressor", {}, {})
    assert (tmp_path / "music" / "song.wav").read_text() == "precious"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="no student at .*nowhere: the folder does not exist"):
        load_artifact(tmp_path / "nowhere", "student")


def test_another_kind_is_named(saved):
    with pytest.raises(ArtifactError, match="holds a compressor, not a student"):
        load_artifact(saved, "student")


@pytest.mark.parametrize("config", [{}, [], "compressor", None, {"kind": None}])
def test_a_config_of_another_program_is_refused(saved, config):
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="not a compressor"):
        load_artifact(saved, "compressor")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_is_refused(saved, number):
    (saved / "config.json").write_text(json.dumps({"kind": "compressor", "format": number}))
    with pytest.raises(ArtifactError, match=f"has format {number!r}; this version of embcomp reads format 1"):
        load_artifact(saved, "compressor")


def test_a_missing_config_is_refused(saved):
    (saved / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"no compressor at .*: the folder has no config\.json"):
        load_artifact(saved, "compressor")


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "pickle", "folder", "huge header"])
def test_damaged_weights_are_refused(saved, damage):
    weights = saved / "weights.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    if damage == "folder":
        weights.mkdir()
    elif damage != "missing":
        content = {
            "empty": b"",
            "truncated": whole[:-4],
            "text": b"hello world, this is no tensor",
            "pickle": pickle.dumps({"w": 1}),
            "huge header": (2**62).to_bytes(8, "little") + whole[8:],
        }
        weights.write_bytes(content[damage])
    with pytest.raises(ArtifactError, match=r"weights\.safetensors is missing or damaged .*make the compressor again"):
        load_artifact(saved, "compressor")


def test_a_pickle_planted_as_weights_is_not_run(saved, tmp_path):
    class Plant:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "planted"),)

    torch.save({"w": Plant()}, saved / "weights.safetensors")
    with pytest.raises(ArtifactError, match="damaged"):
        load_artifact(saved, "compressor")
    assert not (tmp_path / "planted").exists()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_raises_anything_but_an_embcomp_error(saved, data):
    name = data.draw(st.sampled_from(["config.json", "weights.safetensors"]))
    whole = (saved / name).read_bytes()
    place = data.draw(st.integers(0, len(whole)))
    damaged = whole[:place] + data.draw(st.binary(max_size=20)) + whole[data.draw(st.integers(place, len(whole))) :]
    try:
        (saved / name).write_bytes(damaged)
        config, tensors = load_artifact(saved, "compressor")
        check_tensors(saved, tensors, {"w": torch.zeros(2, 3)})
        assert isinstance(config, dict)
    except EmbcompError:
        pass
    finally:
        (saved / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "weights lack 'w'"),
        ({"w": torch.zeros(3, 2)}, r"'w' has shape \(3, 2\), its config says \(2, 3\)"),
        ({"w": torch.zeros(2, 3), "x": torch.zeros(1)}, r"unexpected weights \['x'\]"),
    ],
)
def test_weights_that_contradict_the_config_are_refused(found, message):
    with pytest.raises(ArtifactError, match=message):
        check_tensors("a", found, {"w": torch.zeros(2, 3)})


def test_weights_that_fit_the_config_pass():
    assert check_tensors("a", {"w": torch.zeros(2, 3)}, {"w": torch.ones(2, 3)}) is None


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_pointer_for_a_file_is_named_with_the_mend(saved, name):
    (saved / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ArtifactError, match=rf"{name} is a Git LFS pointer, .*git lfs pull"):
        load_artifact(saved, "compressor")
