"""How a student learns from a teacher: one file per method."""

from __future__ import annotations

from torch import nn

from embcomp.config import TransferConfig
from embcomp.errors import ConfigError, choose
from embcomp.transfer.base import Batch, TargetTransfer, Transfer
from embcomp.transfer.embedding import EmbeddingTransfer
from embcomp.transfer.joint import JointCompression

__all__ = [
    "METHODS",
    "Batch",
    "EmbeddingTransfer",
    "JointCompression",
    "TargetTransfer",
    "Transfer",
    "build_transfer",
    "target_kind",
]

METHODS = {
    "none": "labels alone, no teacher",
    "embedding": "the raw embedding (EAsT)",
    "compressed": "the compressed embedding, two-stage or joint",
}


def target_kind(config: TransferConfig) -> str:
    """Which vectors a method learns from.

    Returns
    -------
    {"none", "embedding", "compressed"}
        ``embedding`` also where a joint method compresses by itself.
    """
    choose("transfer method", config.method, METHODS)
    if config.method == "compressed" and config.schedule == "joint":
        return "embedding"
    return config.method


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
    if config.method == "none":
        return Transfer(multi_label)
    if config.method == "compressed" and config.schedule == "joint":
        if compressor is None:
            raise ConfigError("the joint schedule trains a compressor and needs one to start from")
        return JointCompression(compressor, config.distance, config.weight, config.stop_gradient, multi_label)
    # Two-stage compression is the same loss with targets compressed beforehand. The raw embedding is
    # compared as EAsT does even where its width happens to be the student's.
    raw = config.method == "embedding" and config.distance == "auto"
    return EmbeddingTransfer("distance_correlation" if raw else config.distance, config.weight, multi_label)
