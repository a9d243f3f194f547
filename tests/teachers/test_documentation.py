"""What the page on teachers shows is true: its description is read, its class runs, its settings are there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.settings import teacher_settings

from embcomp.config.choices import SECTIONS, keys_of
from embcomp.teachers import open_teacher
from embcomp.teachers.describe import ModelStep, parse_description

PAGE = (Path(__file__).resolve().parents[2] / "docs/teachers.md").read_text(encoding="utf-8")


def block(kind):
    return re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[1]


def test_the_description_is_the_one_that_is_shipped():
    from embcomp.teachers.describe import shipped

    found = parse_description(block("toml"), "page", Path())
    known = next(one for one in shipped() if one.name == "google-speech-embedding")
    for name in ("sample_rate", "shortest", "pad", "multiply", "pooling"):
        assert getattr(found, name) == getattr(known, name)
    for one, other in zip(found.models, known.models, strict=True):
        assert (one.window, one.hop, one.shape, one.time) == (other.window, other.hop, other.shape, other.time)


def test_every_key_of_a_description_is_explained():
    missing = [name for name in ModelStep.__dataclass_fields__ if f"`{name}" not in PAGE and f"\n{name} =" not in PAGE]
    assert missing == []


def test_the_class_runs(tmp_path):
    (tmp_path / "loudness.py").write_text(block("python"))
    teacher = open_teacher(teacher_settings(spec=f"python:{tmp_path / 'loudness.py'}:Loudness"))
    assert teacher.embed(np.full((1, 8), 0.5, np.float32), np.array([8])).tolist() == [[0.5]]


@pytest.mark.parametrize("name", SECTIONS["teacher"].classes)
def test_every_teacher_and_its_settings_are_on_the_page(name):
    assert re.search(rf"`{name}[`:]", PAGE)
    if name not in ("kmeans", "store"):
        for key in keys_of(SECTIONS["teacher"].classes[name]):
            assert f"`{key}`" in PAGE, key
