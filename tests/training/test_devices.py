"""Devices that are not there are refused; what runs on a GPU is marked."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from helpers.transfer_cases import FAST, examples, new_student, prepared

import embcomp
from embcomp.config import TrainingConfig
from embcomp.errors import ConfigError, EmbcompWarning
from embcomp.training import devices
from embcomp.training.devices import check_device, moved
from embcomp.training.examples import Streamed
from embcomp.training.loop import train
from embcomp.transfer import METHODS


@pytest.mark.parametrize(
    "name, message",
    [
        ("gpu", "no such device 'gpu'; use cpu, cuda, cuda:NUMBER or mps"),
        ("meta", "students do not train on 'meta'"),
        ("cuda", "no CUDA device is usable here; use cpu"),
        ("cuda:1", "no CUDA device is usable here; use cpu"),
        ("mps", r"no GPU of a Mac is usable here \(mps\); use cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        check_device(name)
    assert check_device("cpu") == "cpu"


def test_a_gpu_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="there is no cuda:2 here: 2 CUDA devices, counted from cuda:0"):
        check_device("cuda:2")


@pytest.mark.parametrize(
    "amp, device, instructions, warned",
    [
        (True, "cpu", False, True),
        (True, "cpu", True, False),
        (True, "cuda", False, False),
        (False, "cpu", False, False),
    ],
)
def test_bfloat16_is_warned_of_where_the_processor_has_no_instructions(
    amp, device, instructions, warned, monkeypatch, recwarn
):
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: instructions)
    devices.warn_of_bfloat16(amp, device)
    assert [str(one.message).partition(" has ")[0] for one in recwarn] == ["training.amp: this processor"] * warned


@pytest.mark.parametrize("command", ["run", "distill"])
def test_a_run_and_a_training_warn_of_it_before_anything_is_read(command, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: False)
    settings = tmp_path / "settings.toml"
    settings.write_text('[data]\ntrain = "clips.csv"\n[training]\namp = true\n[[variants]]\nname = "compressed"\n')
    config = embcomp.load_config(settings)
    with pytest.warns(EmbcompWarning, match="no instructions for bfloat16"), pytest.raises(embcomp.EmbcompError):
        if command == "run":
            embcomp.run(config, tmp_path / "out")
        else:
            empty = embcomp.Manifest(pd.DataFrame(), tmp_path)
            embcomp.distill(empty, tmp_path / "out", variant=config.variants[0])


def test_nothing_is_copied_where_it_already_is():
    tensor = torch.ones(3)
    assert moved(tensor, "cpu") is tensor


RELATIONAL = {"embedding", "embedding_kd", "compressed", "clip_samples", "clip_teacher", "clip_prototypes"}


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_that_a_loss_sees_each_accumulated_batch_by_itself_is_noted(method, recwarn):
    data = examples()
    config = TrainingConfig(steps=1, batch_size=4, accumulate=3)
    train(new_student(), prepared(method, data), data, examples(seed=1), config, seed=0)
    notes = [str(one.message) for one in recwarn if issubclass(one.category, EmbcompWarning)]
    expected = (
        f"training.accumulate: {method} compares the clips of a batch with each other, and sees 4 at a time, not 12"
    )
    assert notes == ([expected] if method in RELATIONAL else [])


def test_a_distance_clip_by_clip_has_no_such_note(recwarn):
    data = examples()
    config = TrainingConfig(steps=1, batch_size=4, accumulate=2)
    for method, options in {
        "compressed": {"distance": "cosine", "student_projector": True},
        "clip_prototypes": {"faithful": True},
    }.items():
        train(new_student(), prepared(method, data, **options), data, examples(seed=1), config, seed=0)
    assert not [one for one in recwarn if issubclass(one.category, EmbcompWarning)]


@pytest.mark.gpu
@pytest.mark.parametrize("method", [method.name for method in METHODS])
@pytest.mark.parametrize("amp", [False, True])
def test_every_method_trains_on_a_gpu_from_clips_on_disk(method, amp):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    data = examples()
    streamed = Streamed(lambda rows: (data.features[rows], data.lengths[rows]), data.labels)
    config = TrainingConfig(**{**FAST.__dict__, "amp": amp})
    student = new_student()
    result = train(student, prepared(method, data), streamed, examples(seed=1), config, seed=0, device="cuda")
    assert result.best_score > 0.6 and next(student.parameters()).device.type == "cuda"
