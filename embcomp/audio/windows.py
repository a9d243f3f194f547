"""A recording of any length as windows, one after the other, in memory that does not grow with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np

from embcomp.audio.decoding import GRACE, open_audio, resample
from embcomp.audio.mono import check_channels, loss, to_mono


def windows(
    path: str | os.PathLike,
    sample_rate: int,
    window: float,
    hop: float,
    *,
    channel: str = "mix",
    ffmpeg: bool = False,
    lost: Callable[[str], None] | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """Windows of a recording, each as if it had been decoded by itself.

    Nothing is believed of the header: the recording is decoded from its start, a block at a time, until it ends. The
    last window may be shorter.

    Parameters
    ----------
    sample_rate : int
        Hz of the windows.
    window, hop : float
        Seconds; `hop` at most `window`.
    channel, ffmpeg, lost
        See `embcomp.audio.decoding.decode`.

    Yields
    ------
    start : float
        Seconds.
    waveform : ndarray of shape (samples,), float32

    Raises
    ------
    AudioError
        As `decode` does; windows before a place where the file turns out to be damaged have been given by then.
    """
    with open_audio(path, ffmpeg) as source:
        check_channels(source.channels, channel)
        rate = source.rate

        def cut(number: int) -> tuple[float, int, int]:
            start = round(number * hop, 6)
            return start, round(start * rate), round((start + window) * rate)

        def one(start: float, channels: np.ndarray) -> tuple[float, np.ndarray]:
            if lost is not None and channel == "mix" and (kind := loss(channels)):
                lost(kind)
            waveform = to_mono(channels, channel)
            piece = waveform if rate == sample_rate else resample(waveform, rate, sample_rate)
            return start, piece[: round(window * sample_rate)]

        held, begin, number = np.empty((0, source.channels), dtype=np.float32), 0, 0
        for block in source.blocks():
            held = np.concatenate([held, block])
            start, first, last = cut(number)
            while last <= begin + len(held):
                yield one(start, held[first - begin : last - begin])
                number += 1
                start, first, last = cut(number)
            # What no further window needs is let go.
            held, begin = held[max(0, first - begin) :].copy(), max(begin, first)
        total = begin + len(held)
        # The rest is a window of its own unless the one before it ends where the recording does.
        while total and (number == 0 or total / rate - window - GRACE > (number - 1) * hop):
            start, first, last = cut(number)
            if first >= total:
                return
            yield one(start, held[first - begin : last - begin])
            number += 1
