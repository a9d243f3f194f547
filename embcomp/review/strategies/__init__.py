"""How clips to label next are chosen, one file a strategy. The tuple below is the list of them."""

from __future__ import annotations

from embcomp.errors import choose
from embcomp.review.strategies.base import Strategy
from embcomp.review.strategies.disagreement import Disagreement
from embcomp.review.strategies.diversity import Diversity
from embcomp.review.strategies.similar import Similar
from embcomp.review.strategies.uncertainty import Uncertainty

__all__ = ["STRATEGIES", "Strategy", "strategy_named"]

STRATEGIES: tuple[type[Strategy], ...] = (Uncertainty, Disagreement, Diversity, Similar)


def strategy_named(name: str) -> type[Strategy]:
    """The strategy of that name.

    Raises
    ------
    ConfigError
        There is none; the nearest is named.
    """
    return choose("strategy", name, {strategy.name: strategy for strategy in STRATEGIES})
