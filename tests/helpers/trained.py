"""A small student that tells tones apart, and a teacher and a compressor to go with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.compression import Compressor
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.teachers.kmeans import KMeansTeacher
from embcomp.training.distill import distill
from helpers.tones import write_tones

CLASSES = ("high", "low", "mid")


def train_on_tones(folder: Path, **student) -> Path:
    """Train in `folder`; the student is ``folder/student``, its clips ``folder/tones/manifest.csv``."""
    manifest = Manifest.read(write_tones(folder / "tones", classes=CLASSES, groups=4, clips=4))
    config = parse(
        {
            "audio": {"seconds": 0.4, "n_mels": 24},
            "transfer": {"method": "none"},
            "student": {"width": 16, "embedding": 16, **student},
            "training": {
                "steps": 150,
                "batch_size": 24,
                "evaluate_every": 20,
                "freq_mask": 0,
                "equaliser": 0.0,
                "learning_rate": 0.01,
            },  # fmt: skip
        }
    )
    distill(manifest, folder / "student", variant=config.variants[0], audio=config.audio)
    return folder


def learn_teacher(folder: Path) -> Path:
    """Learn a k-means teacher on the tones and fit a compressor of its embeddings: ``folder/teacher``, ``folder/compressor``."""
    manifest = Manifest.read(folder / "tones/manifest.csv")
    clips = Clips(manifest, KMeansTeacher.sample_rate, 0.4)
    batch = clips.batch(np.arange(len(clips)))
    config = KMeansTeacher.Settings(centroids=16, whitened=16, patches=1000)
    teacher = KMeansTeacher.learn([batch], len(clips), config)
    teacher.save(folder / "teacher")
    Compressor(4, method="pca").fit(teacher.embed(*batch)).save(folder / "compressor")
    return folder
