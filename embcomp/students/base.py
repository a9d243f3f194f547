"""What a student is: a small network that says its name, its settings and what it takes."""

from __future__ import annotations

from collections.abc import Callable
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
        Bands of its input; of a table its columns, of images their channels.
    **options
        Fields of the class's ``Settings``.

    Attributes
    ----------
    takes : tuple of str
        ``audio``, ``table`` or ``images``, see ``data.inputs``.
    Norm : type
        Of the layer that normalises the input: from a kind and `n_mels`, with a method ``fit``.
    embedding_width : int

    Raises
    ------
    ConfigError
        A setting is unknown or out of range.

    Shape
    -----
    Log-mels ``(n, n_mels, frames)`` and lengths ``(n,)`` in frames to `StudentOutput`. A table has one frame; images
    are ``(n, channels, height, width)``, their lengths the width.
    """

    section = "student"
    takes: ClassVar[tuple[str, ...]] = ("audio",)
    Settings = StudentSettings
    Norm: ClassVar[Callable[[str, int], nn.Module]] = InputNorm
    embedding_width: int

    def __init__(self, n_classes: int, n_mels: int, **options: Any):
        super().__init__()
        self.settings = self.settings_of(**options)
        self.norm = self.Norm(self.settings.norm, n_mels)
