"""Small networks that map log-mels, tables or images to a `StudentOutput`: one file each, and the tuple of them."""

from __future__ import annotations

from torch import nn

from embcomp.students.base import Student, StudentSettings
from embcomp.students.bc_resnet import BCResNet
from embcomp.students.cnn import CNN
from embcomp.students.cp_resnet import CPResNet
from embcomp.students.ds_cnn import DSCNN
from embcomp.students.input_norm import InputNorm
from embcomp.students.mlp import MLP
from embcomp.students.mobile_fcn import MobileFCN
from embcomp.students.mobilenet_v3 import MobileNetV3
from embcomp.students.output import StudentOutput, frame_mask
from embcomp.students.tc_resnet import TCResNet

STUDENTS: tuple[type[Student], ...] = (DSCNN, TCResNet, BCResNet, MobileNetV3, CPResNet, MobileFCN, MLP, CNN)

__all__ = [
    "CNN",
    "DSCNN",
    "MLP",
    "STUDENTS",
    "BCResNet",
    "CPResNet",
    "InputNorm",
    "MobileFCN",
    "MobileNetV3",
    "Student",
    "StudentOutput",
    "StudentSettings",
    "TCResNet",
    "build_student",
    "count_parameters",
    "frame_mask",
]


def build_student(settings: StudentSettings, n_classes: int, n_mels: int) -> Student:
    """The student that `settings` belong to, with random weights.

    Parameters
    ----------
    settings : StudentSettings
        As in a configuration, or ``DSCNN.Settings(width=32)``.
    n_mels : int
        Of a student on tables their columns, on images their channels.
    """
    return settings.choice(n_classes, n_mels, **settings.options())


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers in a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
