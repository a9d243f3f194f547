"""Averaged weights: a student that is the moving average of those on the way to it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Exponential moving average of a module's weights and of its batch norms' statistics.

    ``average <- decay_t * average + (1 - decay_t) * weights`` with ``decay_t = min(decay, (1 + t) / (10 + t))``, so
    that the start is soon forgotten (as in TensorFlow's moving averages; Polyak & Juditsky 1992 average alike).

    Parameters
    ----------
    module : nn.Module
        Trained elsewhere.
    decay : float in [0, 1)
        0 keeps the module as it is.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module, self.decay = module, decay
        self.average = copy.deepcopy(module).requires_grad_(False) if decay else module
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present weights in."""
        if not self.decay:
            return
        self.steps += 1
        rest = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, values = self._tensors(self.average), self._tensors(self.module)
        for name, value in values.items():
            if value.is_floating_point():
                averages[name].lerp_(value, rest)
            else:  # counts of batches
                averages[name].copy_(value)

    @staticmethod
    def _tensors(module: nn.Module) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}
