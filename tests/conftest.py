"""Fixtures: shared real data where it is at hand, and tiny sets of tones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tones import write_tones
from hypothesis import settings

torch.set_num_threads(1)
# The same examples in every run; `HYPOTHESIS_PROFILE=default pytest` draws others.
settings.register_profile("seeded", derandomize=True, database=None)
if "HYPOTHESIS_PROFILE" not in os.environ:
    settings.load_profile("seeded")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real audio, teachers and golden numbers beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the real audio of ../shared, which is not here")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Manifest of 24 clips: 2 classes, 4 groups each, 3 clips a group."""
    return write_tones(tmp_path / "tones")
