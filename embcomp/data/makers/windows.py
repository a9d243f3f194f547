"""Windows of fixed length, and the labels they get from the selections they overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from embcomp.errors import ConfigError

GRACE = 1e-3  # seconds; lengths are often written rounded
LEAST_SHARE = 0.5  # of a last window that is shorter than the others, to be kept


@dataclass(frozen=True)
class WindowRule:
    """How recordings are cut, and when a window has the label of a selection.

    Attributes
    ----------
    seconds : float
        Length of a window.
    hop : float
        Seconds from the start of one window to the next; 0 is `seconds`, so that none overlap.
    overlap : float
        A window has a label if it covers at least this share, in (0, 1], of the selection, or of itself where the
        selection is longer.
    background : str
        Label of windows that no selection touches; ``|`` says that no class applies. Empty leaves them out.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    seconds: float
    hop: float = 0.0
    overlap: float = 0.5
    background: str = ""

    def __post_init__(self) -> None:
        if not 0.01 <= self.seconds <= 3600:
            raise ConfigError(f"--window must lie in 0.01-3600 s, not {self.seconds:g}")
        if not 0 <= self.hop < math.inf:
            raise ConfigError(f"--hop must be a number of seconds above 0, not {self.hop:g}")
        if not 0 < self.overlap <= 1:
            raise ConfigError(f"--overlap is a share above 0 and at most 1, not {self.overlap:g}")


@dataclass(frozen=True)
class Selection:
    """A labelled stretch of a recording, in seconds; start and end are the same for a point."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Window:
    """A window and what applies in it.

    Attributes
    ----------
    start, end : float
        Seconds.
    labels : tuple of str
        Of the selections it overlaps enough, in order of time.
    partly : tuple of str
        Of those it touches without overlapping enough.
    """

    start: float
    end: float
    labels: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()


def cut(first: float, last: float, rule: WindowRule) -> list[tuple[float, float]]:
    """Windows of the stretch from `first` to `last` seconds.

    A last window that the stretch does not fill ends with it, and is left out where less than half is there. A
    stretch shorter than a window is one window.

    Examples
    --------
    >>> cut(0.0, 2.6, WindowRule(1.0))
    [(0.0, 1.0), (1.0, 2.0), (2.0, 2.6)]
    """
    hop = rule.hop or rule.seconds
    count = max(1, math.ceil((last - first - GRACE) / hop))
    found = []
    for number in range(count):
        start = round(first + number * hop, 6)
        end = min(round(start + rule.seconds, 6), round(last, 6))
        if number == 0 or end - start >= LEAST_SHARE * rule.seconds - GRACE:
            found.append((start, end))
        if end >= last - GRACE:
            break
    return found


def label_windows(seconds: float, selections: Sequence[Selection], rule: WindowRule) -> list[Window]:
    """Windows of a recording with the labels of its selections.

    Parameters
    ----------
    seconds : float
        Length of the recording.
    selections : sequence of Selection

    Returns
    -------
    list of Window
        All of them; those without a label too.

    Examples
    --------
    >>> [window.labels for window in label_windows(2.0, [Selection(0.2, 1.4, "wren")], WindowRule(1.0, overlap=0.5))]
    [('wren',), ()]
    """
    ordered = sorted(selections, key=lambda one: (one.start, one.end, one.label))
    longest = max((one.end - one.start for one in ordered), default=0.0)
    found, low = [], 0
    for start, end in cut(0.0, seconds, rule):
        while low < len(ordered) and ordered[low].start + longest < start - GRACE:
            low += 1
        enough: list[str] = []
        partly: list[str] = []
        for one in ordered[low:]:
            if one.start >= end:
                break
            share = overlap_share(start, end, one)
            if share > 0:
                (enough if share >= rule.overlap - 1e-9 else partly).append(one.label)
        labels = tuple(dict.fromkeys(enough))
        found.append(Window(start, end, labels, tuple(dict.fromkeys(one for one in partly if one not in labels))))
    return found


def overlap_share(start: float, end: float, selection: Selection) -> float:
    """What share of a selection, or of the window where that is shorter, both have in common; 1 for a point inside."""
    if selection.end <= selection.start:
        return float(start <= selection.start < end)
    common = min(end, selection.end) - max(start, selection.start)
    return max(common, 0.0) / min(end - start, selection.end - selection.start)
