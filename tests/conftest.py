"""Fixtures: shared real data where it is at hand, and tiny sets of tones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

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


def write_tones(
    folder: Path,
    *,
    classes=("high", "low"),
    groups=4,
    clips=3,
    rate=16_000,
    seconds=0.3,
    seed=0,
    name="tones",
    noise=0.02,
) -> Path:
    """Noisy tones, one pitch per class and a little detuned per group; returns the manifest."""
    rng = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, label in enumerate(classes):
        for group in range(groups):
            pitch = 300.0 * 2**number * rng.uniform(0.9, 1.1)
            for clip in range(clips):
                samples = round(rate * seconds * rng.uniform(0.7, 1.3))
                wave = np.sin(2 * np.pi * pitch * np.arange(samples) / rate + rng.uniform(0, 6)) * rng.uniform(0.1, 0.8)
                path = f"audio/{name}_{label}_{group}_{clip}.wav"
                soundfile.write(folder / path, wave + rng.normal(0, noise, samples), rate)
                rows.append([path, label, f"{name}{group}-{label}", ["train", "test"][group % 2], name])
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "group", "split", "dataset"], *rows])
    return folder / "manifest.csv"


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Manifest of 24 clips: 2 classes, 4 groups each, 3 clips a group."""
    return write_tones(tmp_path / "tones")


def assert_equal_outputs(found, expected, atol=1e-5, rtol=1e-4):
    """Two students' outputs agree, and frames that only one of them has are zero."""
    for name in ("logits", "embedding"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=atol, rtol=rtol)
    time = min(found.frames.shape[1], expected.frames.shape[1])
    torch.testing.assert_close(found.frames[:, :time], expected.frames[:, :time], atol=atol, rtol=rtol)
    assert not found.frames[:, time:].any() and not expected.frames[:, time:].any()
