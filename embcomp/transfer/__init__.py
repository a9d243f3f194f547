"""How a student learns from a teacher: one file per method."""

from __future__ import annotations

from torch import nn

from embcomp.config import TransferConfig
from embcomp.errors import ConfigError, choose
from embcomp.transfer.base import Batch, TargetTransfer, Transfer
from embcomp.transfer.clip_prototypes import ClipPrototypes
from embcomp.transfer.clip_samples import ClipSamples
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
    "EmbeddingKD",
    "EmbeddingTransfer",
    "JointCompression",
    "LogitKD",
    "RegressionTransfer",
    "TargetTransfer",
    "Transfer",
    "build_transfer",
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
}


def target_kind(config: TransferConfig) -> str:
    """Which vectors a method learns from.

    Returns
    -------
    {"none", "embedding", "compressed"}
        ``embedding`` also where a joint method compresses by itself.
    """
    choose("transfer method", config.method, METHODS)
    if config.method == "none" or (config.method == "compressed" and config.schedule != "joint"):
        return config.method
    return "embedding"


def build_transfer(config: TransferConfig, multi_label: bool, compressor: nn.Module | None = None) -> Transfer:
    """The method that `config` describes, unprepared.

    Parameters
    ----------
    compressor : nn.Module, optional
        Where training starts from, for the joint schedule.

    Raises
    ------
    ConfigError
        The method is unknown, or needs a compressor and got none.
    """
    choose("transfer method", config.method, METHODS)
    weight, projector = config.weight, config.student_projector
    if config.method == "none":
        return Transfer(multi_label)
    if config.method == "logit_kd":
        return LogitKD(weight, config.temperature, multi_label, config.faithful)
    if config.method == "embedding_kd":
        return EmbeddingKD(config.distance, weight, config.kd_weight, config.temperature, multi_label, config.faithful)
    if config.method == "regression":
        return RegressionTransfer(weight, config.head, config.regression_distance, config.clusters, multi_label)
    if config.method == "clip_prototypes":
        return ClipPrototypes(weight, config.contrast_temperature, config.prototypes, multi_label, config.faithful)
    if config.method == "clip_samples":
        return ClipSamples(weight, config.contrast_temperature, multi_label, config.faithful)
    if config.method == "embedding":
        return EmbeddingTransfer(config.distance, weight, multi_label, projector)
    if config.schedule == "joint":
        if compressor is None:
            raise ConfigError("the joint schedule trains a compressor and needs one to start from")
        return JointCompression(compressor, config.distance, weight, config.stop_gradient, multi_label, projector)
    # Two-stage compression is the same loss with targets compressed beforehand.
    return EmbeddingTransfer(config.distance, weight, multi_label, projector)
