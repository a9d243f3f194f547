"""What a tuning may change, as text: ``transfer.weight=0.1..2:log`` is a range, ``compressor.dim=16|32|64`` a choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embcomp.config.overrides import read_override
from embcomp.config.schema import toml_value
from embcomp.errors import ConfigError

HOW = "KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=ONE|TWO|THREE"


@dataclass(frozen=True)
class Dimension:
    """A setting and the values it may have.

    Attributes
    ----------
    key : str
        ``section.key``.
    choices : tuple
        Values to choose from; empty for a range.
    low, high : float or int
        Ends of a range, both included. Where both are whole, so are the values.
    log : bool
        Whether the logarithm of the value is what varies evenly.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that stand for all of them in a check of limits."""
        return self.choices or (self.low, self.high)

    def suggested(self, trial: Any) -> Any:
        """A value by an optuna trial."""
        if self.choices:
            # What optuna stores of a choice is its place: a list is no value for it.
            return self.choices[trial.suggest_categorical(self.key, list(range(len(self.choices))))]
        suggest = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return suggest(self.key, self.low, self.high, log=self.log)

    def stored(self, value: Any) -> Any:
        """How optuna stores a value, for one to try that was not suggested; None where the dimension does not have it."""
        if self.choices:
            return self.choices.index(value) if value in self.choices else None
        inside = isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high
        return type(self.low)(value) if inside else None

    def value(self, stored: Any) -> Any:
        """The inverse of `stored`."""
        return self.choices[stored] if self.choices else stored


def override(key: str, value: Any) -> str:
    """A setting as ``--set`` takes it."""
    return f"{key}={toml_value(value)}"


def read_space(texts: Sequence[str]) -> list[Dimension]:
    """Dimensions from their texts.

    Raises
    ------
    ConfigError
        One is not written as it should be, is empty, or a key is there twice.
    """
    found = [_dimension(text) for text in texts]
    for number, one in enumerate(found):
        if any(one.key == other.key for other in found[:number]):
            raise ConfigError(f"--search {one.key} is given twice")
    return found


def _dimension(text: str) -> Dimension:
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or key.count(".") != 1 or not values.strip():
        raise ConfigError(f"--search takes {HOW}, not {text!r}")
    if ".." in values:
        ends, _, kind = values.partition(":")
        low, high = (_number(end, text) for end in ends.split("..", 1))
        if kind not in ("", "log"):
            raise ConfigError(f"--search {text!r}: a range may end in :log, not in :{kind}")
        if not (isinstance(low, int) and isinstance(high, int)):
            low, high = float(low), float(high)
        if not low < high:
            raise ConfigError(f"--search {text!r}: {low} is not below {high}")
        if kind and low <= 0:
            raise ConfigError(f"--search {text!r}: a range on a logarithmic scale starts above 0")
        return Dimension(key, (), low, high, bool(kind))
    choices = tuple(read_override(f"{key}={part.strip()}")[1] for part in values.split("|"))
    if len(choices) < 2 or any(one in choices[:number] for number, one in enumerate(choices)):
        raise ConfigError(f"--search {text!r} leaves nothing to choose; {HOW}")
    return Dimension(key, choices)


def _number(text: str, whole: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ConfigError(f"--search {whole!r}: {text.strip()!r} is no number; {HOW}")
    return found
