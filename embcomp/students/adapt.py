"""Normalisation statistics of a trained student, re-estimated on unlabelled clips of another data set."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from embcomp.students import InputNorm
from embcomp.students.standardise import Standardise

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Reached(Exception):
    """The layer asked for has its input: nothing further on is wanted."""


def reestimate(network: nn.Module, features: Tensor, lengths: Tensor, batch_size: int = 32) -> nn.Module:
    """A copy of a student whose normalisation statistics are those of `features`.

    Adaptive batch normalisation (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain
    Adaptation", arXiv 1603.04779): each batch norm's mean and variance are replaced by those its input has on the
    target clips, and so are the bands' of a ``global`` `InputNorm` or `Standardise`. No label is used, no weight is changed.

    Statistics are pooled exactly over all clips, not averaged over batches: an average, running or cumulative,
    gives a short last batch the weight of a full one and leaves out the variance between batches. Layers are taken
    one after another in the order they run, since the input of each depends on the statistics of those before it.

    Training counts padded frames (`embcomp.students`), so clips are padded here as they are there: in batches of
    the training's size drawn at random, by a fixed permutation. Clips of one length give the same statistics
    in any order and any batches, to rounding.

    Parameters
    ----------
    network : nn.Module
        Not changed.
    features : Tensor of shape (n, n_mels, frames)
        Or of a table (n, columns, 1), of images (n, channels, height, width).
    lengths : Tensor of shape (n,)
        Valid frames.
    batch_size : int, default=32
        As in training; it decides the padding.

    Returns
    -------
    nn.Module
        In evaluation mode, on the device of `network`.
    """
    adapted = copy.deepcopy(network).eval()
    device = next(adapted.parameters()).device
    with torch.inference_mode():
        for module in adapted.modules():
            if isinstance(module, (InputNorm, Standardise)) and module.kind == "global":
                module.fit(features.to(device), lengths.to(device))
        shuffled = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0)).to(lengths.device)
        batches = shuffled.split(batch_size)
        first = batches[0][:1]
        for layer in _in_order(adapted, features[first].to(device), lengths[first].to(device)):
            moments = _ChannelMoments()
            handle = layer.register_forward_pre_hook(moments)
            try:
                for rows in batches:
                    _run_until_reached(adapted, features, lengths, rows, device)
            finally:
                handle.remove()
            layer.running_mean.copy_(moments.mean)
            layer.running_var.copy_(moments.spread / max(moments.count - 1, 1))
    return adapted


class _ChannelMoments:
    """Count, mean and sum of squared deviations per channel, merged batch by batch (Chan et al. 1979).

    `embcomp.compression.moments` merges by the same formula, but full covariances of vectors read from disk, with
    numpy; here there is one variance a channel, of maps of any shape, on the student's own device.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.spread: Tensor | float = 0.0

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        dims = [dim for dim in range(x.ndim) if dim != 1]
        variance, mean = torch.var_mean(x, dims, correction=0)
        variance, mean, count = variance.double(), mean.double(), x.numel() // x.shape[1]
        total = self.count + count
        off = mean - self.mean
        self.spread = self.spread + variance * count + off.square() * (self.count * count / total)
        self.mean = self.mean + off * (count / total)
        self.count = total
        raise _Reached


def _run_until_reached(network: nn.Module, features: Tensor, lengths: Tensor, rows: Tensor, device) -> None:
    kept = lengths[rows]
    try:
        network(features[rows][..., : int(kept.max())].to(device), kept.to(device))
    except _Reached:
        return


def _in_order(network: nn.Module, features: Tensor, lengths: Tensor) -> list[nn.Module]:
    """Batch norms in the order a forward pass meets them; those it does not meet are left as they are."""
    met: dict[nn.Module, None] = {}
    handles = [
        module.register_forward_pre_hook(lambda layer, inputs: met.setdefault(layer))
        for module in network.modules()
        if isinstance(module, BATCH_NORMS) and module.track_running_stats
    ]
    try:
        network(features, lengths)
    finally:
        for handle in handles:
            handle.remove()
    return list(met)
