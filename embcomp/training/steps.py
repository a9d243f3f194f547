"""Steps down a loss of several terms, and what the terms were."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from embcomp.errors import DataError


class Descent:
    """An optimiser that keeps count of the loss terms it was given.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer

    Attributes
    ----------
    sums : dict of str to float
        Of each term since :meth:`means` was last asked.
    count : int
        Steps since.
    """

    def __init__(self, optimiser: torch.optim.Optimizer):
        self.optimiser = optimiser
        self.sums: dict[str, float] = {}
        self.count = 0

    def step(self, terms: dict[str, Tensor], number: int) -> None:
        """Take one step down the sum of `terms`.

        Parameters
        ----------
        terms : dict of str to Tensor, scalars
        number : int
            Steps taken before, for the message.

        Raises
        ------
        DataError
            The loss is not finite.
        """
        self.begin()
        self.add(terms, number)
        self.take()

    def begin(self) -> None:
        """Forget gradients."""
        for group in self.optimiser.param_groups:  # as zero_grad would, without its bookkeeping
            for parameter in group["params"]:
                parameter.grad = None

    def add(self, terms: dict[str, Tensor], number: int, parts: int = 1) -> None:
        """Add the gradient of one of the `parts` that a step's loss is the mean of; otherwise as `step`."""
        loss = sum(terms.values())
        values = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(float(loss.detach())):
            raise DataError(f"the loss is not finite at step {number} ({values}); lower training.learning_rate")
        (loss / parts if parts > 1 else loss).backward()
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value / parts

    def take(self) -> None:
        """Take the step down the gradients that were added."""
        self.optimiser.step()
        self.count += 1

    def means(self) -> dict[str, float]:
        """Mean of each term over the steps since this was last asked."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means
