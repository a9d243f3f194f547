"""Fixtures: shared real data where it is at hand, and tiny sets of tones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tones import write_tones

torch.set_num_threads(1)

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
