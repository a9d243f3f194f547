"""What the tests of this room export."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.trained import learn_teacher, train_on_tones


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Folder with ``student``, ``teacher``, ``compressor`` and ``tones/manifest.csv``; not to be changed."""
    return learn_teacher(train_on_tones(tmp_path_factory.mktemp("trained")))
