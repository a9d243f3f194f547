"""Small networks that map log-mels to a `StudentOutput`."""

from __future__ import annotations

from torch import nn

from embcomp.errors import choose
from embcomp.students.ds_cnn import DSCNN
from embcomp.students.output import InputNorm, StudentOutput, frame_mask

STUDENTS = {"ds_cnn": DSCNN}

__all__ = ["DSCNN", "STUDENTS", "InputNorm", "StudentOutput", "build_student", "count_parameters", "frame_mask"]


def build_student(kind: str, n_classes: int, n_mels: int, **options) -> nn.Module:
    """A new student with random weights.

    Raises
    ------
    ConfigError
        `kind` is not one of `STUDENTS`; the nearest is named.
    """
    return choose("student", kind, STUDENTS)(n_classes=n_classes, n_mels=n_mels, **options)


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers in a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
