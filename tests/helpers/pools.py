"""Clips of which some have a label, and students that know nothing but do not say the same of all."""

from __future__ import annotations

from pathlib import Path

from embcomp.config import AudioConfig
from embcomp.students.classifier import Classifier
from helpers.settings import student_settings

CLASSES = ("high", "low", "mid")
AUDIO = AudioConfig(seconds=0.4, n_mels=24)


def save_student(folder: Path, seed: int = 0, multi_label: bool = False, classes=CLASSES) -> Path:
    """An untrained student."""
    found = Classifier.new(classes, AUDIO, student_settings(width=16), multi_label, seed)
    found.network.classify.weight.data.mul_(40)
    found.network.eval()
    found.save(folder)
    return folder


def drop_labels(manifest: Path, keep) -> Path:
    """Rewrite a manifest without the labels of the rows for which `keep(number)` is false."""
    lines = manifest.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines[1:]]
    for number, row in enumerate(rows):
        row[1] = row[1] if keep(number) else ""
    manifest.write_text("\n".join([lines[0], *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return manifest
