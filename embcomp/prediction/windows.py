"""Labels of a long recording, window by window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from embcomp.audio.windows import windows
from embcomp.config import AudioConfig
from embcomp.errors import ConfigError
from embcomp.prediction.labeller import Labeller, RowLabeller, audio_with


@dataclass(frozen=True)
class Window:
    """A part of a recording and its label.

    Attributes
    ----------
    start, end : float
        Seconds.
    label : str
        The likeliest class; of a multi-label student every class at or above the threshold, joined by ``|``.
    probabilities : ndarray of shape (classes,), float32
    """

    start: float
    end: float
    label: str
    probabilities: np.ndarray


def label_windows(
    model: Labeller,
    path: str | os.PathLike,
    *,
    window: float,
    hop: float | None = None,
    threshold: float | None = None,
    channel: str | None = None,
    ffmpeg: bool | None = None,
    lost: Callable[[str], None] | None = None,
) -> Iterator[Window]:
    """Label the windows of one recording as it is decoded; see `embcomp.predict_windows`."""
    if isinstance(model, RowLabeller):
        model.refuse("--window")
    check_windows(model.audio, window, hop, threshold)
    audio = audio_with(model.audio, channel, ffmpeg)
    pieces = windows(
        path,
        audio.sample_rate,
        window,
        window if hop is None else hop,
        channel=audio.channel,
        ffmpeg=audio.ffmpeg,
        lost=lost,
    )
    yield from label_pieces(model, pieces, threshold)


def label_pieces(
    model: Labeller, pieces: Iterator[tuple[float, np.ndarray]], threshold: float | None = None, batch: int = 0
) -> Iterator[Window]:
    """Label pieces of audio as they come.

    Parameters
    ----------
    pieces : iterator of (float, ndarray)
        Start in seconds, and waveform (samples,) at the model's rate.
    batch : int
        Pieces that are waited for and put through at once; 0 is as many as the model takes.
    """
    waiting: list[tuple[float, np.ndarray]] = []
    rate, batch = model.audio.sample_rate, batch or model.batch

    def labelled() -> Iterator[Window]:
        found = model.probabilities([waveform for _, waveform in waiting])
        for (start, waveform), label, row in zip(waiting, model.labels(found, threshold), found):
            yield Window(start, round(start + len(waveform) / rate, 6), label, row)
        waiting.clear()

    for piece in pieces:
        waiting.append(piece)
        if len(waiting) == batch:
            yield from labelled()
    if waiting:
        yield from labelled()


def check_windows(audio: AudioConfig, window: float | None, hop: float | None, threshold: float | None) -> None:
    """Refuse windows that the student was not trained for.

    Raises
    ------
    ConfigError
        Names the option.
    """
    if window is None and hop is not None:
        raise ConfigError("a hop needs windows; give --window, too")
    if window is not None and not 0 < window <= audio.seconds:
        raise ConfigError(
            f"--window must lie above 0 and at most at {audio.seconds:g} s, the longest the student was trained on; got {window:g}"
        )
    if hop is not None and not 0 < hop <= window:
        raise ConfigError(
            f"--hop must lie above 0 and at most at --window ({window:g} s), or parts would be skipped; got {hop:g}"
        )
    if threshold is not None and not 0 < threshold < 1:
        raise ConfigError(f"--threshold must lie between 0 and 1, not {threshold:g}")
