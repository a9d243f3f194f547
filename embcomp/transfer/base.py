"""What a transfer method is: the way targets enter the student's loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.losses import prediction_loss
from embcomp.students import StudentOutput


@dataclass(frozen=True)
class Mixing:
    """What the clips of a batch were mixed with (mixup, Zhang et al. 2018, arXiv 1710.09412).

    Attributes
    ----------
    partners : Tensor of shape (n,)
        Row of the other clip of each pair, as `Batch.rows`.
    lengths : Tensor of shape (n,)
        Its valid frames; it was repeated or cut to the clip's own, see `embcomp.audio.augment.mix`.
    shares : Tensor of shape (n,)
        How much of the mix is the clip itself, in [0.5, 1].
    """

    partners: Tensor
    lengths: Tensor
    shares: Tensor

    def of(self, own: Tensor, partner: Tensor) -> Tensor:
        """``share * own + (1 - share) * partner``, both (n, ...).

        NaN, an unknown label, stays unknown if it has any share. EAsT's code counts a label as known
        where either clip's is, and an unknown one as 0.
        """
        shares = self.shares.view(-1, *[1] * (own.dim() - 1))
        return torch.where(shares == 1, own, shares * own + (1 - shares) * partner)


@dataclass(frozen=True)
class Batch:
    """Clips of one training step.

    Attributes
    ----------
    features : Tensor of shape (n, n_mels, frames)
    lengths : Tensor of shape (n,)
        Valid frames.
    labels : Tensor of shape (n, classes)
        1, 0, or NaN for unknown; between 0 and 1 for mixed clips.
    rows : Tensor of shape (n,)
        Row of each clip among the rows given to `Transfer.prepare`.
    mixing : Mixing, or None
        What features and labels are mixed with. Whatever else a method knows of a clip it must mix
        likewise: see `mixed`.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor
    rows: Tensor
    mixing: Mixing | None = None

    def mixed(self, look_up: Callable[[Tensor], Tensor]) -> Tensor:
        """What belongs to the batch's clips, mixed as their features are.

        Parameters
        ----------
        look_up : callable
            Rows (n,) to vectors (n, d), or to (n, k, d): one for each of k equal shares of the clip's time.

        Returns
        -------
        Tensor of shape (n, d) or (n, k, d)
        """
        own = look_up(self.rows)
        if self.mixing is None:
            return own
        partner = look_up(self.mixing.partners)
        if own.dim() == 3:
            partner = self._heard(partner, self.mixing.lengths)
        return self.mixing.of(own, partner)

    def _heard(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Of a partner's vectors over time, (n, k, d), those that sound in the middle of each share of the clip."""
        count = vectors.shape[1]
        middle = (torch.arange(count, device=vectors.device) + 0.5) / count * self.lengths.unsqueeze(1)
        lengths = lengths.unsqueeze(1)
        place = ((middle % lengths) / lengths * count).long().clamp(max=count - 1)
        return vectors.gather(1, place.unsqueeze(2).expand_as(vectors))


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
    over_time : bool
        Whether the loss compares moments of a clip, so that its frames must stay where they are.
    """

    needs_labels = True
    over_time = False

    def __init__(self, multi_label: bool = False):
        super().__init__()
        self.multi_label = multi_label

    def prepare(self, targets: np.ndarray | None, labels: Labels, manifest: Manifest, width: int) -> None:
        """Take what the loss will need of the clips to fit on.

        Parameters
        ----------
        targets : ndarray of shape (n, d), or None
            Frozen vectors, one per clip; (n, k, d) for methods that compare over time.
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

    def vectors(self, rows: Tensor) -> Tensor:
        """Targets of single clips, (n, d), by their rows (n,)."""
        return self.targets[rows]

    def target_of(self, batch: Batch) -> Tensor:
        """Targets of the batch's clips, (n, d), mixed where the clips are."""
        return batch.mixed(self.vectors)
