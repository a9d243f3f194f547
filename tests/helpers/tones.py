"""A tiny set of tones, as audio files and a manifest."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile


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


def write_three(root: Path, own: str) -> Path:
    """The sets `home`, `abroad` and `pool`, and `own.py` with a teacher of the test's own; returns the folder."""
    (root / "own.py").write_text(own)
    for number, name in enumerate(("home", "abroad", "pool")):
        write_tones(root / name, groups=4, clips=2, name=name, seed=number)
    return root
