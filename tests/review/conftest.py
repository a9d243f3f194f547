"""A student, and clips of which half have a label."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.pools import drop_labels, save_student
from helpers.tones import write_tones


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A student's folder; not to be changed."""
    return save_student(tmp_path_factory.mktemp("model") / "student")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    """A manifest of 24 clips, every other one without a label; not to be changed."""
    return drop_labels(write_tones(tmp_path_factory.mktemp("pool")), lambda number: number % 2)
