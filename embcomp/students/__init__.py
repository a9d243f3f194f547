"""Small networks that map log-mels to a `StudentOutput`."""

from __future__ import annotations

import inspect
from dataclasses import fields

from torch import nn

from embcomp.config import StudentConfig
from embcomp.errors import choose
from embcomp.students.cp_resnet import CPResNet
from embcomp.students.ds_cnn import DSCNN
from embcomp.students.mobile_fcn import MobileFCN
from embcomp.students.output import InputNorm, StudentOutput, frame_mask

STUDENTS = {"ds_cnn": DSCNN, "cp_resnet": CPResNet, "mobile_fcn": MobileFCN}

__all__ = [
    "DSCNN",
    "STUDENTS",
    "CPResNet",
    "InputNorm",
    "MobileFCN",
    "StudentOutput",
    "build_student",
    "count_parameters",
    "frame_mask",
]


def build_student(kind: str, n_classes: int, n_mels: int, **options) -> nn.Module:
    """A new student with random weights.

    Parameters
    ----------
    **options
        Any settings of `StudentConfig`. A student leaves out those it has no use for: published ones
        have a fixed width.

    Returns
    -------
    nn.Module
        Log-mels and lengths to `StudentOutput`; its ``embedding_width`` is the embedding's.

    Raises
    ------
    ConfigError
        `kind` is not one of `STUDENTS`; the nearest is named.
    """
    student = choose("student", kind, STUDENTS)
    foreign = {item.name for item in fields(StudentConfig)} - set(inspect.signature(student).parameters)
    return student(
        n_classes=n_classes,
        n_mels=n_mels,
        **{name: value for name, value in options.items() if name not in foreign},
    )


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers in a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
