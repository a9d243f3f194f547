"""The student of images: a few convolutions, and the mean over what they see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students.base import Student, StudentSettings
from embcomp.students.output import StudentOutput
from embcomp.students.pooling import at_least_float32
from embcomp.students.standardise import Standardise


class CNN(Student):
    """3x3 convolutions with batch norm and ReLU, the mean over all places, a linear embedding and a linear classifier.

    From the second block on each halves height and width and doubles the channels.

    Parameters
    ----------
    n_classes : int
    n_mels : int
        Channels of the images, whose size is free.
    **options
        Fields of `CNN.Settings`.

    Shape
    -----
    Images ``(n, channels, height, width)`` to `StudentOutput`, whose frames are the columns of the last maps;
    lengths play no part.

    Examples
    --------
    >>> import torch
    >>> student = CNN(n_classes=10, n_mels=1).eval()
    >>> student(torch.zeros(2, 1, 28, 28), None).logits.shape
    torch.Size([2, 10])
    """

    name = "cnn"
    summary = "for images: 3x3 convolutions, 28 k parameters by default"
    takes = ("images",)
    Norm = Standardise

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        norm: str = setting("global", "of the channels, see `Standardise`", choices=Standardise.IMAGE_KINDS)
        width: int = setting(16, "channels of the first block", at_least=1)
        blocks: int = setting(3, at_least=1, at_most=8)
        embedding: int = setting(64, "width of the embedding", at_least=1)
        dropout: float = setting(0.1, "on the embedding, before the classifier", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int = 1, **options: Any):
        super().__init__(n_classes, n_mels, **options)
        settings = self.settings
        self.embedding_width = settings.embedding
        sizes = [n_mels] + [settings.width * 2**number for number in range(settings.blocks)]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2 if number else 1, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for number, (before, after) in enumerate(zip(sizes, sizes[1:]))
        )
        self.project = nn.Linear(sizes[-1], settings.embedding)
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(settings.embedding, n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        x = self.norm(features)
        stages = []
        for block in self.blocks:
            x = block(x)
            stages.append(at_least_float32(x).mean(2).transpose(1, 2))
        embedding = self.project(stages[-1].mean(1))
        logits = self.classify(self.dropout(embedding))
        return StudentOutput(logits, embedding, stages[-1], stages if self.training else ())
