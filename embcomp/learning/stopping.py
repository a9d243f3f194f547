"""Early stopping: keep the weights that scored best, and say when waiting for better ones has been long enough."""

from __future__ import annotations

import math

from torch import Tensor, nn


class EarlyStopping:
    """The best weights of a module so far.

    Parameters
    ----------
    module : nn.Module
        Trained elsewhere; only its state is read here.
    patience : int
        Checks without better weights before :attr:`exhausted`; 0 waits for ever.

    Attributes
    ----------
    best : tuple of float or None
        The best score.
    state : dict of str to Tensor
        The weights that had it, on the CPU.
    waited : int
        Checks since.

    Examples
    --------
    >>> stopping = EarlyStopping(nn.Linear(2, 1), patience=2)
    >>> [stopping.offer(score) for score in (0.5, 0.7, 0.6, 0.7)], stopping.exhausted
    ([True, True, False, False], True)
    """

    def __init__(self, module: nn.Module, patience: int):
        self.module, self.patience = module, patience
        self.best: tuple[float, ...] | None = None
        self.state: dict[str, Tensor] = {}
        self.waited = 0

    def offer(self, *score: float) -> bool:
        """Keep the module's present weights if their score is better than the best.

        Parameters
        ----------
        *score : float
            Higher is better; those after the first decide ties. Anything is better than NaN.

        Returns
        -------
        bool
            Whether they were kept.
        """
        if self.best is not None and not math.isnan(self.best[0]) and not score > self.best:
            self.waited += 1
            return False
        self.best, self.waited = score, 0
        self.state = {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}
        return True

    @property
    def exhausted(self) -> bool:
        return 0 < self.patience <= self.waited

    def restore(self) -> None:
        """Give the module its best weights back."""
        self.module.load_state_dict(self.state)
