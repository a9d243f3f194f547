"""EAsT: the raw teacher embedding regularises the student."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from embcomp.config import setting
from embcomp.data.labels import Labels
from embcomp.errors import ConfigError
from embcomp.losses import DISTANCES, RELATIONS, align_frames, time_shares
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer, TransferSettings, label_free_setting


@dataclass(frozen=True)
class DistanceSettings(TransferSettings):
    """Settings of EAsT's distance, with or without its soft labels."""

    distance: str = setting(
        "distance_correlation", "cosine compares directly and needs equal widths", choices=tuple(DISTANCES)
    )
    weight: float = setting(
        0.5, "lambda of (1 - lambda) L_pred + lambda L_reg; the paper took 0.6 to 0.9", at_least=0, at_most=1
    )
    frames: bool = setting(False, "compare over time, with teacher.frames vectors per clip")
    student_repeat: int = setting(
        1,
        "with frames: repeat each of the student's so often, to meet the teacher's; -1 averages over time",
        at_least=-1,
    )
    teacher_repeat: int = setting(1, "the same for the teacher's", at_least=-1)
    stage_weights: tuple[float, ...] = setting((), "of the student's stages; empty compares its embedding")

    @property
    def over_time(self) -> bool:
        return self.frames

    def conflict(self) -> str:
        repeats = (self.student_repeat, self.teacher_repeat)
        averaged = [repeat == -1 for repeat in repeats]
        if self.frames and (0 in repeats or any(averaged) != all(averaged)):
            return (
                "transfer.student_repeat and transfer.teacher_repeat are both 1 or more, or both -1 for the time "
                f"average; not {repeats[0]} and {repeats[1]}"
            )
        weights = self.stage_weights
        if weights and (min(weights) < 0 or sum(weights) == 0):
            return f"transfer.stage_weights are at least 0 and not all 0, not {list(weights)}"
        return ""


class EmbeddingTransfer(TargetTransfer):
    """Match the batch structure of the teacher's vectors.

    ``L = (1 - weight) * L_pred + weight * L_dist``, Ding & Lerch 2023, "Audio Embeddings as Teachers
    for Music Classification" (arXiv 2306.17424). With compressed targets in place of the raw embedding
    this is the two-stage form of embedding compression. What is compared:

    - by default the student's embedding with one vector per clip, which for the published students
      is EAsT-Final with both sides averaged over time;
    - with ``stage_weights`` the student's stages: ``(0, 0, 1)`` is EAsT-Final, ``(1, 1, 1)`` all
      stages alike; the distances are weighted by them, divided by their sum;
    - with ``frames`` moment by moment, as the paper does; of the repeats ``(s, t)`` the student's clips have
      ``t * k / s`` shares, rounded up. Mixup of inputs, labels and targets
      (``training.mixup``, the paper took 0.3) goes with all of them.

    Differs from the paper in time: its teachers have a fixed frame rate and its clips one length, here
    a teacher has k vectors, each of an equal share of a clip. So a clip's valid frames are first
    averaged over, or repeated to, as many equal shares as the teacher has vectors after their
    repetition: clips of different lengths meet their teacher at the same share of each, nothing is
    cut, and padding takes no part.

    Raises
    ------
    ConfigError
        Options that contradict each other; in `loss`, if the student has another number of stages.
    """

    name = "embedding"
    summary = "the raw embedding (EAsT)"

    @dataclass(frozen=True)
    class Settings(DistanceSettings):
        student_projector: bool = setting(
            False, "compare a trained linear map of the student's embedding, as wide as the target"
        )
        label_free: float = label_free_setting()

        def conflict(self) -> str:
            if self.student_projector and (self.frames or self.stage_weights):
                return (
                    "transfer.student_projector maps the student's embedding, which is not compared with "
                    "transfer.frames or transfer.stage_weights; set it to false"
                )
            return super().conflict()

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.distance = DISTANCES[self.settings.distance]
        self.compares_clips = self.settings.distance in RELATIONS
        total = sum(self.settings.stage_weights)
        self.stage_weights = tuple(weight / total for weight in self.settings.stage_weights)

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        super().prepare(targets, labels, width)
        settings = self.settings
        if settings.frames and self.targets.dim() == 2:
            self.targets = self.targets.unsqueeze(1)
        # One vector per clip does not say when; nor does an average.
        self.over_time = settings.frames and self.targets.shape[1] > 1 and settings.student_repeat != -1
        projects = getattr(settings, "student_projector", False)
        self.projector = nn.Linear(width, self.targets.shape[1]) if projects else nn.Identity()

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        pairs = self.compared(output, self.target_of(batch))
        distance = sum(weight * self.distance(student, teacher) for weight, student, teacher in pairs)
        rest, share = self.shares(batch, self.settings.weight)
        return {"prediction": rest * self.prediction(output, batch), "distance": share * distance}

    def compared(self, output: StudentOutput, target: Tensor) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Weights, which sum to 1, and what of the student is compared with what of the teacher."""
        if not self.settings.frames and not self.stage_weights:
            yield 1.0, self.projector(output.embedding.float()), target
        elif not self.stage_weights:
            yield 1.0, *self._aligned(output.frames.float(), target)
        elif len(self.stage_weights) != len(output.stages):
            raise ConfigError(
                f"transfer.stage_weights has {len(self.stage_weights)} weights, the student {len(output.stages)} stages; "
                "give one for each, or none to compare its embedding"
            )
        else:
            for weight, stage in zip(self.stage_weights, output.stages):
                if weight:
                    yield weight, *self._aligned(stage.float(), target)

    def _aligned(self, frames: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if not self.settings.frames:
            return time_shares(frames, 1).squeeze(1), target
        student_repeat, teacher_repeat = self.settings.student_repeat, self.settings.teacher_repeat
        count = 1 if student_repeat == -1 else -(-teacher_repeat * target.shape[1] // student_repeat)
        return align_frames(time_shares(frames, count), target, student_repeat, teacher_repeat)
