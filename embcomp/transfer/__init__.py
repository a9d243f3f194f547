"""How a student learns from a teacher: one file per method, and the tuple of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

from embcomp.transfer.base import Batch, Mixing, Source, TargetTransfer, Transfer, TransferSettings
from embcomp.transfer.classifier_reuse import ClassifierReuse
from embcomp.transfer.clip_prototypes import ClipPrototypes
from embcomp.transfer.clip_samples import ClipSamples
from embcomp.transfer.clip_teacher import ClipTeacher
from embcomp.transfer.compressed import Compressed
from embcomp.transfer.concepts import ConceptTransfer
from embcomp.transfer.embedding import EmbeddingTransfer
from embcomp.transfer.embedding_kd import EmbeddingKD
from embcomp.transfer.logit_kd import LogitKD
from embcomp.transfer.none import NoTransfer
from embcomp.transfer.regression import RegressionTransfer

METHODS: tuple[type[Transfer], ...] = (
    NoTransfer,
    EmbeddingTransfer,
    EmbeddingKD,
    LogitKD,
    Compressed,
    ClassifierReuse,
    RegressionTransfer,
    ClipPrototypes,
    ClipSamples,
    ClipTeacher,
    ConceptTransfer,
)

__all__ = [
    "METHODS",
    "Batch",
    "ClassifierReuse",
    "ClipPrototypes",
    "ClipSamples",
    "ClipTeacher",
    "Compressed",
    "ConceptTransfer",
    "EmbeddingKD",
    "EmbeddingTransfer",
    "LogitKD",
    "Mixing",
    "NoTransfer",
    "RegressionTransfer",
    "Source",
    "TargetTransfer",
    "Transfer",
    "TransferSettings",
    "build_transfer",
]


def build_transfer(
    settings: TransferSettings,
    multi_label: bool,
    compressor: nn.Module | None = None,
    teacher: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Transfer:
    """The method that `settings` belong to, unprepared.

    Parameters
    ----------
    settings : TransferSettings
        As in a configuration, or ``LogitKD.Settings(temperature=3.0)``.
    multi_label : bool
    compressor : nn.Module, optional
        Where training starts from, for the joint schedule.
    teacher : callable, optional
        For a method whose source is the teacher: row numbers, int64 (n,), of the clips the method is
        prepared with, to their embeddings (n, d).

    Raises
    ------
    ConfigError
        The settings contradict each other, or the method needs a compressor or a teacher and got none.
    """
    return settings.choice.build(settings, multi_label, compressor, teacher)
