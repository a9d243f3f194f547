"""What students get decides which students, augmentations and teachers a configuration may name."""

from __future__ import annotations

import pytest

from embcomp.config import parse, to_dict, to_toml
from embcomp.config.reading import load
from embcomp.errors import ConfigError


def content(inputs: str = "table", **sections) -> dict:
    base = {"data": {"inputs": inputs, "input_file": "x.npz"}, "teacher": {"spec": "store:e.npy"}}
    for name, values in sections.items():
        base[name] = {**base.get(name, {}), **values} if isinstance(values, dict) else values
    return base


@pytest.mark.parametrize(("inputs", "student"), [("table", "mlp"), ("images", "cnn"), ("auto", "ds_cnn")])
def test_the_student_follows_the_inputs(inputs, student):
    given = content(inputs) if inputs != "auto" else {}
    assert parse(given).variants[0].student.kind == student


def test_augmentations_of_log_mels_are_off_and_images_are_still_shifted():
    table, images = (parse(content(inputs)).variants[0].training for inputs in ("table", "images"))
    for one in (table, images):
        assert (one.gain, one.freq_mask, one.time_mask, one.equaliser, one.mixstyle) == (0, 0, 0, 0, 0)
    assert table.roll == 0 and images.roll > 0


def test_resolved_settings_are_read_back(tmp_path):
    config = parse(content("images", training={"roll": 0.2}, student={"width": 8}))
    (tmp_path / "c.toml").write_text(to_toml(config))
    again = load(tmp_path / "c.toml")
    assert to_dict(again) | {"data": None} == to_dict(config) | {"data": None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            content(student={"kind": "ds_cnn"}),
            "'ds_cnn' takes audio, and data.inputs is 'table'; for tables there is: mlp",
        ),
        (content("images", student={"kind": "mlp"}), "takes tables.*for images there is: cnn"),
        ({"student": {"kind": "mlp"}}, "takes tables, and data.inputs is 'audio'; for audio there is: ds_cnn,"),
        ({"variants": [{"name": "b", "student": {"kind": "cnn"}}]}, r"variants\[0\] \(b\): the student 'cnn'"),
        (content(training={"gain": 3.0}), "training.gain changes log-mels, not tables"),
        (content(training={"roll": 0.1}), "training.roll changes log-mels, not tables"),
        (content("images", training={"freq_mask": 4}), "training.freq_mask changes log-mels, not images"),
        (content(teacher={"spec": "kmeans"}), "the teacher 'kmeans' needs it; take store:PATH"),
        (content(data={"input_file": ""}), "needs data.input_file"),
        (content("images", data={"columns": ["a"]}), "has no columns"),
        ({"data": {"input_file": "x.csv"}}, 'data.input_file is for data.inputs = "table" or "images"'),
        (content(evaluation={"shifts": ["noise:20"]}), "evaluation.shifts changes audio"),
        (content(audio={"n_mels": 40}), r"leave the settings of \[audio\] out"),
        (content(transfer={"method": "embedding", "frames": True}), "have no time"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_configuration_is_read(given, message):
    with pytest.raises(ConfigError, match=message):
        parse(given)


def test_without_a_teacher_none_is_asked_for():
    assert parse(content(teacher={"spec": "kmeans"}, transfer={"method": "none"})).variants[0].name == "none"


def test_a_run_without_students_takes_any():
    assert parse({"data": {"inputs": "none"}, "student": {"kind": "mlp"}}).variants[0].student.kind == "mlp"
