"""EAsT: the raw teacher embedding regularises the student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, choose
from embcomp.losses import DISTANCES, align_frames, time_shares
from embcomp.students import StudentOutput
from embcomp.transfer.base import Batch, TargetTransfer


class EmbeddingTransfer(TargetTransfer):
    """Match the batch structure of the teacher's vectors.

    ``L = (1 - weight) * L_pred + weight * L_dist``, Ding & Lerch 2023, "Audio Embeddings as Teachers
    for Music Classification" (arXiv 2306.17424). With compressed targets in place of the raw embedding
    this is the two-stage form of embedding compression. What is compared:

    - by default the student's embedding with one vector per clip, which for the published students
      is EAsT-Final with both sides averaged over time;
    - with ``stage_weights`` the student's stages: ``(0, 0, 1)`` is EAsT-Final, ``(1, 1, 1)`` all
      stages alike; the distances are weighted by them, divided by their sum;
    - with ``frames`` moment by moment, as the paper does. Mixup of inputs, labels and targets
      (``training.mixup``, the paper took 0.3) goes with all of them.

    Differs from the paper in time: its teachers have a fixed frame rate and its clips one length, here
    a teacher has k vectors, each of an equal share of a clip. So a clip's valid frames are first
    averaged over, or repeated to, as many equal shares as the teacher has vectors after their
    repetition: clips of different lengths meet their teacher at the same share of each, nothing is
    cut, and padding takes no part.

    Parameters
    ----------
    distance : {"distance_correlation", "cosine_distance_difference", "cosine"}
        The cosine is direct and needs equal widths, or the projector.
    weight : float in [0, 1]
        The paper's lambda; it used 0.6 to 0.9.
    projector : bool, default=False
        Compare a trained linear map of the student's embedding, as wide as the target,
        so that a direct distance is possible. The student alone keeps its width.
    frames : bool, default=False
        Compare over time; targets are then (n, k, d).
    repeats : (int, int), default=(1, 1)
        With `frames`, how often each of the student's and of the teacher's is repeated, see
        `align_frames`. Of ``(s, t)`` the student's clips have ``t * k / s`` shares, rounded up. -1, for
        both, compares time averages.
    stage_weights : sequence of float, default=()
        One for each of the student's stages, see `StudentOutput`; none for its embedding, or with
        `frames` its frames.

    Raises
    ------
    ConfigError
        Options that contradict each other; in `loss`, if the student has another number of stages.
    """

    def __init__(
        self,
        distance: str = "distance_correlation",
        weight: float = 0.5,
        multi_label: bool = False,
        projector: bool = False,
        frames: bool = False,
        repeats: tuple[int, int] = (1, 1),
        stage_weights: Sequence[float] = (),
    ):
        super().__init__(multi_label)
        self.distance = choose("distance", distance, DISTANCES)
        self.weight = weight
        self.has_projector = projector
        self.frames, self.repeats = frames, repeats
        self.stage_weights = _shares_of(stage_weights)
        if projector and (frames or stage_weights):
            raise ConfigError(
                "transfer.student_projector maps the student's embedding, which is not compared with transfer.frames "
                "or transfer.stage_weights; set it to false"
            )
        averaged = [repeat == -1 for repeat in repeats]
        if frames and (0 in repeats or any(averaged) != all(averaged)):
            raise ConfigError(
                "transfer.student_repeat and transfer.teacher_repeat are both 1 or more, or both -1 for the time average; "
                f"not {repeats[0]} and {repeats[1]}"
            )

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        super().prepare(targets, labels, manifest, width)
        if self.frames and self.targets.dim() == 2:
            self.targets = self.targets.unsqueeze(1)
        # One vector per clip does not say when; nor does an average.
        self.over_time = self.frames and self.targets.shape[1] > 1 and self.repeats[0] != -1
        self.projector = nn.Linear(width, self.targets.shape[1]) if self.has_projector else nn.Identity()

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        pairs = self.compared(output, self.target_of(batch))
        distance = sum(weight * self.distance(student, teacher) for weight, student, teacher in pairs)
        return {"prediction": (1 - self.weight) * self.prediction(output, batch), "distance": self.weight * distance}

    def compared(self, output: StudentOutput, target: Tensor) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Weights, which sum to 1, and what of the student is compared with what of the teacher."""
        if not self.frames and not self.stage_weights:
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
        if not self.frames:
            return time_shares(frames, 1).squeeze(1), target
        student_repeat, teacher_repeat = self.repeats
        count = 1 if student_repeat == -1 else -(-teacher_repeat * target.shape[1] // student_repeat)
        return align_frames(time_shares(frames, count), target, student_repeat, teacher_repeat)


def _shares_of(weights: Sequence[float]) -> tuple[float, ...]:
    total = sum(weights)
    if weights and (min(weights) < 0 or total == 0):
        raise ConfigError(f"transfer.stage_weights are at least 0 and not all 0, not {list(weights)}")
    return tuple(weight / total for weight in weights)
