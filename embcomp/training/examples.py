"""Clips as a student sees them, and how often each is drawn."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embcomp.config import TrainingConfig
from embcomp.data.labels import Labels
from embcomp.distributed import Share
from embcomp.training.devices import moved

MOST = 1 << 24  # categories that torch draws from
BLOCK = 256  # clips read at once where all of them are looked at


class Drawable:
    """Clips that batches are drawn from.

    Attributes
    ----------
    labels : Labels
    device : str or torch.device
        Where batches go.
    """

    labels: Labels
    device: str | torch.device = "cpu"

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Clips `rows`, int64 (k,) on the CPU: features (k, n_mels, longest), and lengths (k,)."""
        raise NotImplementedError

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and lengths of all clips, in order, in parts that fit in memory."""
        raise NotImplementedError

    def draw(
        self, weights: Tensor, count: int, generator: torch.Generator, share: Share | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clips drawn with replacement, each by its weight.

        Parameters
        ----------
        weights : Tensor of shape (n,)
        count : int
        generator : torch.Generator
            On the CPU, as `weights` are, so that one seed gives the same draws on every device.
        share : Share, optional
            Where several processes share the batch, which all of them draw alike: only this one's clips are read.

        Returns
        -------
        rows : Tensor of int64 of shape (count,)
        lengths : Tensor of shape (count,)
        features : Tensor of shape (count, n_mels, longest)
            Of the share alone, where there is one; as long as those of the whole batch.
        """
        rows = drawn(weights, count, generator)
        if share is None:
            features, lengths = self.at(rows)
            return rows.to(self.device), lengths, features
        features, lengths = self.at(rows[share.own])
        (lengths,) = share.gathered(lengths)
        missing = int(lengths.max()) - features.shape[-1]
        return rows.to(self.device), lengths, torch.nn.functional.pad(features, (0, missing)) if missing else features


@dataclass(frozen=True)
class Examples(Drawable):
    """Clips as a student sees them.

    Attributes
    ----------
    features : Tensor of shape (n, n_mels, frames)
        Or of a table (n, columns, 1), of images (n, channels, height, width).
    lengths : Tensor of shape (n,)
        Valid frames.
    labels : Labels
    """

    features: Tensor
    lengths: Tensor
    labels: Labels

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.features.device

    def to(self, device: str) -> Examples:
        """The same on another device."""
        return Examples(self.features.to(device), self.lengths.to(device), self.labels)

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Drawable`."""
        rows = rows.to(self.device)
        lengths = self.lengths[rows]
        return self.features[rows][..., : int(lengths.max())], lengths

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """As of `Drawable`: all at once."""
        yield self.features, self.lengths


@dataclass(frozen=True)
class Streamed(Drawable):
    """Clips whose features stay on disk until a batch draws them.

    Attributes
    ----------
    read : callable
        Row numbers, int64 (k,), to features and lengths: the `reader` of what students get.
    labels : Labels
    device : str
    """

    read: Callable[[np.ndarray], tuple[Tensor, Tensor]]
    labels: Labels
    device: str = "cpu"

    @functools.cached_property
    def lengths(self) -> Tensor:
        """Valid frames of every clip (n,), for which all are read once."""
        return torch.cat([lengths for _, lengths in self.parts()])

    def to(self, device: str) -> Streamed:
        """The same for batches on another device."""
        return Streamed(self.read, self.labels, device)

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Drawable`."""
        features, lengths = self.read(rows.cpu().numpy())
        return moved(features, self.device), moved(lengths, self.device)

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """As of `Drawable`."""
        for rows in torch.arange(len(self.labels)).split(BLOCK):
            yield self.at(rows)


@dataclass(frozen=True)
class Joined(Drawable):
    """Clips of several parts, one part after the other.

    Attributes
    ----------
    pieces : sequence of Examples or Streamed
        On one device, none of them empty.
    held : Examples or None
        All clips at once, where all are in memory; see `joined`.
    """

    pieces: Sequence[Examples | Streamed]
    held: Examples | None = None

    @functools.cached_property
    def labels(self) -> Labels:
        """Of all clips."""
        first = self.pieces[0].labels
        matrix = np.concatenate([piece.labels.matrix for piece in self.pieces])
        return Labels(first.classes, matrix, first.multi_label)

    @property
    def device(self) -> str | torch.device:
        """Where batches go."""
        return self.pieces[0].device

    def to(self, device: str) -> Joined:
        """The same on another device."""
        if self.held is not None:
            return _cut(self.held.to(device), self.pieces)
        return Joined([piece.to(device) for piece in self.pieces])

    @functools.cached_property
    def starts(self) -> Tensor:
        """Number of the first clip of each piece (pieces,)."""
        return torch.tensor([0, *(len(piece.labels) for piece in self.pieces)])[:-1].cumsum(0)

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Drawable`."""
        if self.held is not None:
            return self.held.at(rows)
        owner = torch.searchsorted(self.starts, rows, right=True) - 1
        found = []
        for number in owner.unique().tolist():
            places = torch.nonzero(owner == number).squeeze(1)
            found.append((places.to(self.device), *self.pieces[number].at(rows[places] - self.starts[number])))
        longest = max(features.shape[-1] for _, features, _ in found)
        _, features, lengths = found[0]
        joined = features.new_zeros(len(rows), *features.shape[1:-1], longest)
        counts = lengths.new_zeros(len(rows))
        for places, features, lengths in found:
            joined[places, ..., : features.shape[-1]] = features
            counts[places] = lengths
        return joined, counts

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """As of `Drawable`."""
        for piece in self.pieces:
            yield from piece.parts()


def joined(pieces: Sequence[Examples | Streamed]) -> Drawable:
    """Clips of several parts; where all are in memory, they are put side by side there."""
    if len(pieces) == 1 or not all(isinstance(piece, Examples) for piece in pieces):
        return pieces[0] if len(pieces) == 1 else Joined(pieces)
    first, sizes = pieces[0].features, [len(piece.labels) for piece in pieces]
    features = first.new_zeros(sum(sizes), *first.shape[1:-1], max(piece.features.shape[-1] for piece in pieces))
    for part, piece in zip(features.split(sizes), pieces):
        part[..., : piece.features.shape[-1]] = piece.features
    lengths = torch.cat([piece.lengths for piece in pieces])
    return _cut(Examples(features, lengths, Joined(pieces).labels), pieces)


def _cut(held: Examples, like: Sequence[Examples]) -> Joined:
    """All clips at once, and as parts of the sizes and labels of others."""
    sizes = [len(piece.labels) for piece in like]
    parts = zip(held.features.split(sizes), held.lengths.split(sizes), like)
    return Joined(
        [Examples(one[..., : piece.features.shape[-1]], many, piece.labels) for one, many, piece in parts], held
    )


def drawn(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Numbers (count,) drawn with replacement, each by its weight (n,).

    Of more than `MOST` torch draws none at once: then a stretch is drawn by its sum, and a number within it.
    """
    if len(weights) <= MOST:
        return torch.multinomial(weights, count, replacement=True, generator=generator)
    size = -(-len(weights) // MOST) * 64
    owner = torch.multinomial(_sums(weights, size), count, replacement=True, generator=generator)
    rows = torch.empty(count, dtype=torch.int64)
    for number in owner.unique().tolist():
        places = torch.nonzero(owner == number).squeeze(1)
        part = weights[number * size : (number + 1) * size]
        within = torch.multinomial(part, len(places), replacement=True, generator=generator)
        rows[places] = number * size + within
    return rows


def _sums(weights: Tensor, size: int) -> Tensor:
    """Sum of each stretch of `size` weights."""
    whole = len(weights) // size * size
    sums = weights[:whole].view(-1, size).sum(1)
    return sums if whole == len(weights) else torch.cat([sums, weights[whole:].sum().view(1)])


def steps_of(config: TrainingConfig, labels: Labels) -> int:
    """How many steps a training takes: as set, or as many as ``epochs`` passes over the labelled clips."""
    if not config.epochs:
        return config.steps
    labelled = np.count_nonzero(labels.labelled)
    share = 1.0 if labelled == len(labels) else max(config.labelled, labelled / len(labels))
    clips = labelled / (1 + config.views)  # each is there as itself and in its views
    return max(1, math.ceil(config.epochs * clips / (config.batch_size * config.accumulate * share)))


def sampling_weights(labels: Labels, balanced: bool, labelled: float = 0.0) -> Tensor:
    """Probability of drawing each clip, float64 (n,), summing to 1.

    Balanced: every class is drawn equally often (of a clip's several labels the
    rarest counts).

    Parameters
    ----------
    labels : Labels
    balanced : bool
    labelled : float in [0, 1], default=0.0
        Least share of the draws that goes to clips with a label. In proportion to their number, a few
        labels among many clips would leave a batch with hardly one, and the task loss with noise.
    """
    strata = labels.for_splits
    count = len(strata)
    known = strata >= 0
    if not known.any():
        return torch.full((count,), 1.0 / count, dtype=torch.float64)
    share = 1.0 if known.all() else max(labelled, known.mean())
    weights = np.full(count, (1.0 - share) / max(np.count_nonzero(~known), 1))
    members = np.bincount(strata[known]) if balanced else np.array([np.count_nonzero(known)])
    weights[known] = (share / np.count_nonzero(members)) / members[strata[known] if balanced else 0]
    return torch.from_numpy(weights)
