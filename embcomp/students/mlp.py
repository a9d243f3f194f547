"""The student of tables: fully connected layers on standardised columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from embcomp.config import setting
from embcomp.students.base import Student, StudentSettings
from embcomp.students.output import StudentOutput
from embcomp.students.standardise import Standardise


class MLP(Student):
    """Fully connected layers with batch norm and ReLU, a linear embedding and a linear classifier.

    Parameters
    ----------
    n_classes : int
    n_mels : int
        Columns of the table.
    **options
        Fields of `MLP.Settings`.

    Shape
    -----
    Rows ``(n, columns, 1)`` to `StudentOutput`; lengths play no part.

    Examples
    --------
    >>> import torch
    >>> student = MLP(n_classes=3, n_mels=20).eval()
    >>> student(torch.zeros(2, 20, 1), None).logits.shape
    torch.Size([2, 3])
    """

    name = "mlp"
    summary = "for tables: fully connected layers on their columns"
    takes = ("table",)
    Norm = Standardise

    @dataclass(frozen=True)
    class Settings(StudentSettings):
        norm: str = setting("global", "of the columns, see `Standardise`", choices=Standardise.KINDS)
        width: int = setting(64, "units of a layer", at_least=1)
        layers: int = setting(2, "before the embedding", at_least=1, at_most=16)
        embedding: int = setting(64, "width of the embedding", at_least=1)
        dropout: float = setting(0.1, "on the embedding, before the classifier", at_least=0, at_most=0.95)

    def __init__(self, n_classes: int, n_mels: int, **options: Any):
        super().__init__(n_classes, n_mels, **options)
        settings = self.settings
        self.embedding_width = settings.embedding
        sizes = [n_mels] + [settings.width] * settings.layers
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU())
            for before, after in zip(sizes, sizes[1:])
        )
        self.project = nn.Linear(sizes[-1], settings.embedding)
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(settings.embedding, n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None) -> StudentOutput:
        x = self.norm(features).flatten(1)
        stages = []
        for layer in self.hidden:
            x = layer(x)
            stages.append(x.unsqueeze(1))
        embedding = self.project(x)
        logits = self.classify(self.dropout(embedding))
        return StudentOutput(logits, embedding, stages[-1], stages if self.training else ())
