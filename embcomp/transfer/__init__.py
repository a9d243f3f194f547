"""How a student learns from a teacher: one file per method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

from embcomp.config import TransferConfig
from embcomp.errors import ConfigError, choose
from embcomp.transfer.base import Batch, Mixing, TargetTransfer, Transfer
from embcomp.transfer.clip_prototypes import ClipPrototypes
from embcomp.transfer.clip_samples import ClipSamples
from embcomp.transfer.clip_teacher import ClipTeacher
from embcomp.transfer.concepts import ConceptTransfer
from embcomp.transfer.embedding import EmbeddingTransfer
from embcomp.transfer.embedding_kd import EmbeddingKD
from embcomp.transfer.joint import JointCompression
from embcomp.transfer.logit_kd import LogitKD
from embcomp.transfer.regression import RegressionTransfer

__all__ = [
    "METHODS",
    "Batch",
    "ClipPrototypes",
    "ClipSamples",
    "ClipTeacher",
    "ConceptTransfer",
    "EmbeddingKD",
    "EmbeddingTransfer",
    "JointCompression",
    "LogitKD",
    "Mixing",
    "RegressionTransfer",
    "TargetTransfer",
    "Transfer",
    "build_transfer",
    "compares_over_time",
    "target_kind",
]

METHODS = {
    "none": "labels alone, no teacher",
    "embedding": "the raw embedding (EAsT)",
    "embedding_kd": "the raw embedding and the class scores of a linear teacher on it (EAsT-KD)",
    "logit_kd": "the class scores of a linear teacher on the embedding",
    "compressed": "the compressed embedding, two-stage or joint",
    "regression": "the raw embedding, predicted through a head on the student's side (S-SONDO)",
    "clip_prototypes": "class means of the embedding, by contrast (CLIP-Embed-KD)",
    "clip_samples": "the clips' own embeddings, by contrast within the batch",
    "clip_teacher": "the same, from a teacher that runs at every step (CLIP-Teacher-KD)",
    "concepts": "k-means clusters of the embedding, through a frozen classifier of them (Knowledge-CLIP)",
}


def target_kind(config: TransferConfig) -> str:
    """Which vectors a method learns from.

    Returns
    -------
    {"none", "embedding", "compressed", "teacher"}
        ``embedding`` also where a joint method compresses by itself; ``teacher`` where no vector is
        kept and the teacher runs at every step.
    """
    choose("transfer method", config.method, METHODS)
    if config.method == "none" or (config.method == "compressed" and config.schedule != "joint"):
        return config.method
    return "teacher" if config.method == "clip_teacher" else "embedding"


def compares_over_time(config: TransferConfig) -> bool:
    """Whether a method takes every vector that a teacher has of a clip, (n, k, d), instead of their mean."""
    return config.frames and config.method in ("embedding", "embedding_kd")


def build_transfer(
    config: TransferConfig,
    multi_label: bool,
    compressor: nn.Module | None = None,
    teacher: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Transfer:
    """The method that `config` describes, unprepared.

    Parameters
    ----------
    compressor : nn.Module, optional
        Where training starts from, for the joint schedule.
    teacher : callable, optional
        For ``clip_teacher``: row numbers, int64 (n,), of the clips the method is prepared with, to
        their embeddings (n, d).

    Raises
    ------
    ConfigError
        The method is unknown, or needs a compressor or a teacher and got none.
    """
    choose("transfer method", config.method, METHODS)
    weight, projector = config.weight, config.student_projector
    over_time = {
        "frames": config.frames,
        "repeats": (config.student_repeat, config.teacher_repeat),
        "stage_weights": config.stage_weights,
    }
    if config.method == "none":
        return Transfer(multi_label)
    if config.method == "logit_kd":
        return LogitKD(weight, config.temperature, multi_label, config.faithful)
    if config.method == "embedding_kd":
        kd = (config.kd_weight, config.temperature, multi_label, config.faithful)
        return EmbeddingKD(config.distance, weight, *kd, **over_time)
    if config.method == "regression":
        return RegressionTransfer(weight, config.head, config.regression_distance, config.clusters, multi_label)
    if config.method == "clip_prototypes":
        return ClipPrototypes(weight, config.contrast_temperature, config.prototypes, multi_label, config.faithful)
    if config.method == "clip_samples":
        return ClipSamples(weight, config.contrast_temperature, multi_label, config.faithful)
    if config.method == "concepts":
        return ConceptTransfer(weight, config.concepts, config.concept_labels, multi_label)
    if config.method == "clip_teacher":
        if teacher is None:
            raise ConfigError("clip_teacher runs a teacher at every step, and got none; clip_samples takes vectors")
        return ClipTeacher(teacher, weight, config.contrast_temperature, multi_label, config.faithful)
    if config.method == "embedding":
        return EmbeddingTransfer(config.distance, weight, multi_label, projector, **over_time)
    if config.schedule == "joint":
        if compressor is None:
            raise ConfigError("the joint schedule trains a compressor and needs one to start from")
        return JointCompression(compressor, config.distance, weight, config.stop_gradient, multi_label, projector)
    # Two-stage compression is the same loss with targets compressed beforehand.
    return EmbeddingTransfer(config.distance, weight, multi_label, projector)
