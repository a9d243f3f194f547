"""Numbers as a report writes them."""

from __future__ import annotations

import math

from embcomp.report.reading import Source


def number_text(value: float) -> str:
    """A score; empty where there is none."""
    return "" if math.isnan(value) else f"{value:.3f}"


def signed_text(value: float) -> str:
    """A difference, with its sign."""
    return f"{round(value, 3) + 0.0:+.3f}"


def interval_text(low: float, high: float) -> str:
    """An interval; empty where there is none."""
    return "" if math.isnan(low) or math.isnan(high) else f"{low:.3f} to {high:.3f}"


def p_text(value: float) -> str:
    """A p-value."""
    return "unknown" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def measure_words(sources: list[Source]) -> str:
    """What the scores are, at the head of a sentence."""
    words = dict.fromkeys(source.words for source in sources if source.summary is not None)
    text = " or ".join(words)
    return text[:1].upper() + text[1:]
