"""Which layers of a network in 8 bits stay in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AGREEMENT = 0.995  # on validation clips; below it further layers stay in float
MOST_FLOAT = 0.5  # of the layers with weights


@dataclass(frozen=True)
class Quantised:
    """A network in 8 bits.

    Attributes
    ----------
    model : object
        In the format's own form.
    floats : tuple of str
        Layers that stay in float.
    agreement : float
        Share of the validation clips with the same decision as in float.
    error : float
        Mean absolute difference of their outputs from those in float.
    """

    model: Any
    floats: tuple[str, ...]
    agreement: float
    error: float

    @property
    def rank(self) -> tuple[float, float]:
        """The greater, the better: agreement first, as far as it is asked for, then closeness."""
        return min(self.agreement, AGREEMENT), -self.error


def mixed_precision(
    layers: Sequence[str],
    attempt: Callable[[list[str]], tuple[Any, np.ndarray]],
    expected: np.ndarray,
    decide: Callable[[np.ndarray], np.ndarray],
) -> Quantised:
    """Quantise with as few layers in float as the validation clips allow.

    The first and the last layer always stay in float: they have few weights and cause most of the error, and in small
    networks the first one is slower in 8 bits. If the decisions for too many validation clips still change, further
    layers return to float, in the order of their sensitivity: first the one whose return alone brings the
    outputs closest to those of the network in float. At most half of the layers do.

    Parameters
    ----------
    layers : sequence of str
        Names of the layers with weights, in the order they run.
    attempt : callable
        From the names of layers in float to a quantised model and its outputs (n, width) on the validation clips.
    expected : ndarray of shape (n, width)
        Outputs in float.
    decide : callable
        From outputs to what must agree, (n, ...).
    """
    floats = list(dict.fromkeys([layers[0], layers[-1]]))
    model, found = attempt(floats)
    best = quantised(model, floats, expected, found, decide)
    if best.agreement >= AGREEMENT:
        return best
    rest = [name for name in layers if name not in floats]
    errors = {name: np.abs(attempt([*floats, name])[1] - expected).mean() for name in rest}
    for name in sorted(rest, key=errors.__getitem__)[: max(0, int(MOST_FLOAT * len(layers)) - len(floats))]:
        floats.append(name)
        model, found = attempt(floats)
        last = quantised(model, floats, expected, found, decide)
        if last.agreement > best.agreement:
            best = last
        if last.agreement >= AGREEMENT:
            break
    return best


def quantised(
    model: Any,
    floats: Sequence[str],
    expected: np.ndarray,
    found: np.ndarray,
    decide: Callable[[np.ndarray], np.ndarray],
) -> Quantised:
    """`model` with what its outputs `found` show, compared with those `expected`; see `mixed_precision`."""
    same = decide(expected) == decide(found)
    agreement = float(same.reshape(len(same), -1).all(axis=1).mean())
    return Quantised(model, tuple(floats), agreement, float(np.abs(expected - found).mean()))


def finetune_notes(before: Quantised, after: Quantised) -> dict[str, Any]:
    """What a file says of its fine-tuning: whether it was kept, and what the validation clips showed."""
    return {
        "finetuned": {
            "kept": after.rank > before.rank,
            "agreement": [before.agreement, after.agreement],
            "error": [before.error, after.error],
        }
    }
