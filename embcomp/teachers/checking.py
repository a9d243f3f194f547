"""A teacher on a test clip: what it gives, how fast, and whether it keeps its word."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from embcomp.teachers.base import Teacher
from embcomp.teachers.embedding import embed_batch

SECONDS = 2.0
CLIPS = 4


@dataclass(frozen=True)
class Report:
    """What a teacher did with the test clips.

    Attributes
    ----------
    shape : tuple of int
        Of the embeddings of `CLIPS` clips.
    sample_rate : int
        Hz.
    frames : int
        Vectors per clip.
    speed : float
        Seconds of audio embedded in one second.
    remarks : list of str
        Where it does not keep to the contract.
    """

    shape: tuple[int, ...]
    sample_rate: int
    frames: int
    speed: float
    remarks: list[str]


def sounds(sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Test clips, waveforms (`CLIPS`, samples) in [-1, 1] and their lengths: tone, noise, sweep, short clicks."""
    samples = round(SECONDS * sample_rate)
    at = np.arange(samples) / sample_rate
    rng = np.random.default_rng(0)
    clicks = np.zeros(samples)
    clicks[:: max(sample_rate // 8, 1)] = 0.8
    waves = np.stack(
        [
            0.5 * np.sin(2 * np.pi * 440 * at),
            rng.normal(0, 0.1, samples),
            0.5 * np.sin(2 * np.pi * (100 + 400 * at) * at),
            clicks,
        ]
    ).astype(np.float32)
    lengths = np.array([samples, samples, samples, samples // 3])
    waves[3, lengths[3] :] = 0
    return waves, lengths


def check(teacher: Teacher) -> Report:
    """Embed the test clips.

    Raises
    ------
    TeacherError
        It fails, or what it gives is no embedding.
    """
    waves, lengths = sounds(teacher.sample_rate)
    ids = ["tone", "noise", "sweep", "clicks"]
    first = embed_batch(teacher, waves, lengths, ids)
    started = time.perf_counter()
    again = embed_batch(teacher, waves, lengths, ids)
    speed = float(lengths.sum()) / teacher.sample_rate / max(time.perf_counter() - started, 1e-9)
    short = embed_batch(teacher, waves[3:, : lengths[3]], lengths[3:], ids[3:])
    remarks = []
    if _differ(first, again):
        remarks.append("the same clips got other embeddings the second time: it is not deterministic")
    if _differ(first[3:], short):
        remarks.append("a clip got another embedding beside longer ones: zeros behind its end are taken for sound")
    if not _differ(first[:1], first[1:2]):
        remarks.append("a tone and noise got the same embedding")
    return Report(first.shape, teacher.sample_rate, teacher.frames, speed, remarks)


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() > 1e-3 * max(np.abs(one).max(), 1e-6))
