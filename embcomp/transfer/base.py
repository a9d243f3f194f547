"""What a transfer method is: the way targets enter the student's loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.labels import Labels
from embcomp.losses import prediction_loss
from embcomp.manifest import Manifest
from embcomp.students import StudentOutput


@dataclass(frozen=True)
class Batch:
    """Clips of one training step.

    Attributes
    ----------
    features : Tensor of shape (n, n_mels, frames)
    lengths : Tensor of shape (n,)
        Valid frames.
    labels : Tensor of shape (n, classes)
        1, 0, or NaN for unknown.
    rows : Tensor of shape (n,)
        Row of each clip among the rows given to `Transfer.prepare`.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor
    rows: Tensor


class Transfer(nn.Module):
    """Base of the methods, and the baseline ``none``: the student learns from labels alone.

    A method is prepared once and then asked for the loss of each batch. What it
    owns as parameters is trained with the student; targets are buffers, never
    trained.

    Parameters
    ----------
    multi_label : bool
        Whether the task is multi-label.

    Attributes
    ----------
    needs_labels : bool
        Whether what the method adds to the loss comes from labels, be it in `prepare`.
        A clip without a label is welcome either way.
    """

    needs_labels = True

    def __init__(self, multi_label: bool = False):
        super().__init__()
        self.multi_label = multi_label

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        """Take what the loss will need of the clips to fit on.

        Parameters
        ----------
        targets : ndarray of shape (n, d), or None
            Frozen vectors, one per clip.
        labels : Labels
            Of the same clips.
        manifest : Manifest
            The same clips.
        width : int
            Width of the student's embedding.
        """

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        """Named terms of the loss, weighted; their sum is what is minimised."""
        return {"prediction": self.prediction(output, batch)}

    def sampling_weights(self) -> Tensor | None:
        """Probability of drawing each clip, (n,), in place of the loop's own; None leaves it to the loop."""
        return None

    def prediction(self, output: StudentOutput, batch: Batch) -> Tensor:
        """The task loss on the batch's labels."""
        return prediction_loss(output.logits.float(), batch.labels, self.multi_label)


class TargetTransfer(Transfer):
    """A method that keeps one frozen vector per clip; on its own, it needs no label."""

    needs_labels = False

    def __init__(self, multi_label: bool = False):
        super().__init__(multi_label)
        self.register_buffer("targets", torch.empty(0), persistent=False)

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        self.targets = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float32))

    def target_of(self, batch: Batch) -> Tensor:
        """Targets of the batch's clips, (n, d)."""
        return self.targets[batch.rows]
