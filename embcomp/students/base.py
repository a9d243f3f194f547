"""What a student is: a small network on log-mels that says its name and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from embcomp.config import Choice, ChoiceSettings, setting
from embcomp.students.input_norm import InputNorm


@dataclass(frozen=True)
class StudentSettings(ChoiceSettings):
    """Settings of every student."""

    choice: ClassVar[type[Student]]

    norm: str = setting("clip", "input normalisation, see `InputNorm`", choices=InputNorm.KINDS)

    @property
    def kind(self) -> str:
        """Name of the student."""
        return self.choice.name


class Student(Choice, nn.Module):
    """Base of the students.

    Parameters
    ----------
    n_classes : int
    n_mels : int
        Bands of its input.
    **options
        Fields of the class's ``Settings``.

    Attributes
    ----------
    embedding_width : int

    Raises
    ------
    ConfigError
        A setting is unknown or out of range.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames to `StudentOutput`.
    """

    section = "student"
    Settings = StudentSettings
    embedding_width: int

    def __init__(self, n_classes: int, n_mels: int, **options: Any):
        super().__init__()
        self.settings = self.settings_of(**options)
        self.norm = InputNorm(self.settings.norm, n_mels)
