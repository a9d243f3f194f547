"""CLIP-Teacher-KD: in-batch contrast with a teacher that runs at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.errors import ConfigError
from embcomp.transfer.base import Source, TransferSettings
from embcomp.transfer.clip_samples import ClipSamples


class ClipTeacher(ClipSamples):
    """Contrast with what the teacher, in the loop, says of the clips in the batch.

    CLIP-Teacher-KD (Nair 2024, arXiv 2404.06170): at every step the frozen teacher embeds the
    batch, without a gradient, and each clip must find its own vector. Kept to be measured against:
    `ClipSamples` trains the same student from vectors computed once.
    See `ContrastiveTransfer` for the loss and its options.

    Differs from the paper: the teacher gets the clips without the student's augmentation, which
    is what lets its vectors be cached; a clip that was drawn twice is embedded once.

    Parameters
    ----------
    teacher : callable
        Row numbers, int64 (n,), of the clips given to `prepare`, to their embeddings (n, d).
    """

    name = "clip_teacher"
    summary = "the same, from a teacher that runs at every step (CLIP-Teacher-KD)"
    learns_from = Source.TEACHER

    def __init__(self, teacher: Callable[[np.ndarray], np.ndarray], multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.teacher = teacher

    @classmethod
    def build(
        cls,
        settings: TransferSettings,
        multi_label: bool,
        compressor: nn.Module | None = None,
        teacher: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> ClipTeacher:
        if teacher is None:
            raise ConfigError("clip_teacher runs a teacher at every step, and got none; clip_samples takes vectors")
        return cls(teacher, multi_label, **settings.options())

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        # One clip shows the teacher's width; no vector is kept.
        super().prepare(self.teacher(np.zeros(1, dtype=np.int64)), labels, width)
        self.targets = torch.empty(0)

    def vectors(self, rows: Tensor) -> Tensor:
        needed, place = torch.unique(rows, return_inverse=True)
        with torch.no_grad():
            vectors = np.asarray(self.teacher(needed.cpu().numpy()), dtype=np.float32)
        return torch.from_numpy(vectors).to(rows.device)[place]
