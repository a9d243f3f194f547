"""Windows over time: of a clip's samples, or of a model's frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def windows(rows: np.ndarray, size: int, hop: int, tail: str = "drop") -> np.ndarray:
    """Windows of equal size along the first axis.

    Parameters
    ----------
    rows : ndarray of shape (time, ...)
        Fewer than `size` are padded with zeros at the end to one window.
    size, hop : int
        Rows in a window, and from the start of one to the start of the next; at least 1.
    tail : {"drop", "pad"}
        What becomes of rows after the last whole window: dropped, or padded with zeros to a window of their own.

    Returns
    -------
    ndarray of shape (windows, size, ...)

    Examples
    --------
    >>> windows(np.arange(5), 2, 2, "pad").tolist()
    [[0, 1], [2, 3], [4, 0]]
    """
    beyond = max(len(rows) - size, 0)
    count = 1 + (-(-beyond // hop) if tail == "pad" else beyond // hop)
    missing = (count - 1) * hop + size - len(rows)
    if missing > 0:
        rows = np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])
    return np.stack([rows[first : first + size] for first in range(0, (count - 1) * hop + 1, hop)])


def pieces(waveform: np.ndarray, size: int, hop: int) -> list[np.ndarray]:
    """A clip in windows of `size` samples; the last one ends where the clip ends, so that none is padded.

    Examples
    --------
    >>> [piece.tolist() for piece in pieces(np.arange(5), 3, 3)]
    [[0, 1, 2], [2, 3, 4]]
    """
    if not size or len(waveform) <= size:
        return [waveform]
    starts = [*range(0, len(waveform) - size, hop), len(waveform) - size]
    return [waveform[start : start + size] for start in starts]


def padded(waveform: np.ndarray, samples: int, side: str = "end") -> np.ndarray:
    """A waveform with zeros to at least `samples`: at its end, or on both sides alike.

    Examples
    --------
    >>> padded(np.ones(2), 5, "both").tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    missing = samples - len(waveform)
    if missing <= 0:
        return waveform
    before = missing // 2 if side == "both" else 0
    return np.pad(waveform, (before, missing - before))


def cut(waveforms: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """The valid samples of each row of a zero-padded batch; at least one."""
    return [np.asarray(wave[: max(int(length), 1)], np.float32) for wave, length in zip(waveforms, lengths)]


def shares(count: int, parts: int) -> list[slice]:
    """Equal shares of `count` rows, none empty; a row that reaches into two belongs to both.

    Examples
    --------
    >>> shares(3, 2)
    [slice(0, 2, None), slice(1, 3, None)]
    """
    return [slice(part * count // parts, -(-(part + 1) * count // parts)) for part in range(parts)]
