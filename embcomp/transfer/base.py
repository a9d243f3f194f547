"""What a transfer method is: the way targets enter the student's loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.config import Choice, ChoiceSettings, setting
from embcomp.data.labels import Labels
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
    progress : float in [0, 1]
        Share of the training that is done.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor
    rows: Tensor
    mixing: Mixing | None = None
    progress: float = 1.0

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
            partner = self._at_the_same_time(partner, self.mixing.lengths)
        return self.mixing.of(own, partner)

    def _at_the_same_time(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Of a partner's vectors over time, (n, k, d), those that sound in the middle of each share of the clip."""
        count = vectors.shape[1]
        middle = (torch.arange(count, device=vectors.device) + 0.5) / count * self.lengths.unsqueeze(1)
        lengths = lengths.unsqueeze(1)
        place = ((middle % lengths) / lengths * count).long().clamp(max=count - 1)
        return vectors.gather(1, place.unsqueeze(2).expand_as(vectors))


class Source(StrEnum):
    """What a method learns from, beside labels."""

    NONE = "none"
    EMBEDDING = "embedding"  # cached, one or several vectors a clip
    TARGET = "compressed"  # embeddings compressed beforehand
    TEACHER = "teacher"  # nothing is cached: the teacher runs at every step


def label_free_setting() -> Any:
    """A field for the share of the training that comes before labels, of methods that can do without."""
    return setting(0.0, "share of the steps, at the start, that learn from targets alone", at_least=0, at_most=0.95)


@dataclass(frozen=True)
class TransferSettings(ChoiceSettings):
    """Base of the settings of transfer methods."""

    choice: ClassVar[type[Transfer]]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.choice.name

    @property
    def source(self) -> Source:
        """What the method learns from with these settings."""
        return self.choice.learns_from

    @property
    def cached(self) -> bool:
        """Whether it learns from vectors computed beforehand."""
        return self.source in (Source.EMBEDDING, Source.TARGET)

    @property
    def compresses(self) -> bool:
        """Whether a compressor comes between the teacher and the student."""
        return False

    @property
    def joint(self) -> bool:
        """Whether that compressor is trained together with the student."""
        return False

    @property
    def equal_widths(self) -> bool:
        """Whether the student's embedding must be as wide as what it is compared with."""
        return False

    @property
    def over_time(self) -> bool:
        """Whether it takes every vector that a teacher has of a clip, (n, k, d), instead of their mean."""
        return False


class Transfer(Choice, nn.Module):
    """Base of the methods: by itself, the student learns from labels alone.

    A method is prepared once and then asked for the loss of each batch. What it
    owns as parameters is trained with the student; targets are buffers, never
    trained.

    Parameters
    ----------
    multi_label : bool, default=False
        Whether the task is multi-label.
    **options
        Fields of the class's ``Settings``.

    Attributes
    ----------
    learns_from : Source
    needs_labels : bool
        Whether what the method adds to the loss comes from labels, be it in `prepare`.
        A clip without a label is welcome either way.
    over_time : bool
        Whether the loss compares moments of a clip, so that its frames must stay where they are.
    compares_clips : bool
        Whether the loss compares clips of a batch with each other, so that it depends on how many there are.

    Raises
    ------
    ConfigError
        A setting is unknown, out of range, or contradicts another.
    """

    section = "transfer"
    Settings = TransferSettings
    learns_from: ClassVar[Source] = Source.NONE
    needs_labels = True
    over_time = False
    compares_clips = False

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__()
        self.multi_label = multi_label
        self.settings = self.settings_of(**options)

    @classmethod
    def build(
        cls,
        settings: TransferSettings,
        multi_label: bool,
        compressor: nn.Module | None = None,
        teacher: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Transfer:
        """The method with `settings`; see `embcomp.transfer.build_transfer`."""
        return cls(multi_label, **settings.options())

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        """Take what the loss will need of the clips to fit on.

        Parameters
        ----------
        targets : ndarray of shape (n, d), or None
            Frozen vectors, one per clip; (n, k, d) for methods that compare over time.
        labels : Labels
            Of the same clips.
        width : int
            Width of the student's embedding.
        """

    def loss(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        """Named terms of the loss, weighted; their sum is what is minimised."""
        return {"prediction": self.prediction(output, batch)}

    @property
    def label_free(self) -> float:
        """Share of the training, at its start, in which labels play no part."""
        return getattr(self.settings, "label_free", 0.0)

    def shares(self, batch: Batch, weight: float) -> tuple[float, float]:
        """Weights of the prediction and of the transfer term: ``1 - weight`` and `weight`, or 0 and 1 before labels."""
        return (0.0, 1.0) if batch.progress < self.label_free else (1 - weight, weight)

    def finish(self, student: nn.Module) -> None:
        """Put what belongs to the student at test time into it; called before every validation, and at the end."""

    def sampling_weights(self) -> Tensor | None:
        """Probability of drawing each clip, (n,), in place of the loop's own; None leaves it to the loop."""
        return None

    def prediction(self, output: StudentOutput, batch: Batch) -> Tensor:
        """The task loss on the batch's labels."""
        return prediction_loss(output.logits.float(), batch.labels, self.multi_label)


class TargetTransfer(Transfer):
    """A method that keeps one frozen vector per clip; on its own, it needs no label."""

    learns_from = Source.EMBEDDING
    needs_labels = False

    def __init__(self, multi_label: bool = False, **options: Any):
        super().__init__(multi_label, **options)
        self.register_buffer("targets", torch.empty(0), persistent=False)

    def prepare(self, targets: np.ndarray | None, labels: Labels, width: int) -> None:
        self.targets = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float32))

    def vectors(self, rows: Tensor) -> Tensor:
        """Targets of single clips, (n, d), by their rows (n,)."""
        return self.targets[rows]

    def target_of(self, batch: Batch) -> Tensor:
        """Targets of the batch's clips, (n, d), mixed where the clips are."""
        return batch.mixed(self.vectors)
