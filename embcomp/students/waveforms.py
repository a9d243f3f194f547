"""What a student makes of pieces of audio, a batch at a time; and of a long recording, window by window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from embcomp.audio.decoding import fit_length
from embcomp.audio.features import front_end
from embcomp.audio.windows import windows
from embcomp.config import AudioConfig
from embcomp.errors import ConfigError
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits

BATCH = 64  # pieces of audio at a time, fewer where they are long
BATCH_SAMPLES = 1 << 23


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


class WaveformClassifier:
    """A student and its front end, for waveforms.

    Attributes
    ----------
    batch : int
        Waveforms that are put through at once.
    """

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self.module = front_end(classifier.audio)
        samples = round(classifier.audio.seconds * classifier.audio.sample_rate)
        self.batch = max(1, min(BATCH, BATCH_SAMPLES // samples))

    def probabilities(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """Of each waveform (samples,) and class, float32 (n, classes)."""
        batch, lengths = fit_length(waveforms)
        frames = torch.from_numpy(self.module.frames(lengths))
        with torch.inference_mode():
            features = self.module(torch.from_numpy(batch))[..., : int(frames.max())]
            features *= (torch.arange(features.shape[-1]) < frames[:, None])[:, None]
        logits = predict_logits(self.classifier.network, features, frames)
        return self.classifier.probabilities(logits).numpy()

    def labels(self, probabilities: np.ndarray, threshold: float) -> list[str]:
        """The label of each row (n, classes)."""
        classes = np.array(self.classifier.classes, dtype=object)
        if self.classifier.multi_label:
            return ["|".join(classes[row >= threshold]) for row in probabilities]
        return classes[probabilities.argmax(axis=1)].tolist()


def predict_windows(
    student: Classifier | str | os.PathLike,
    path: str | os.PathLike,
    *,
    window: float,
    hop: float | None = None,
    threshold: float = 0.5,
    channel: str | None = None,
    ffmpeg: bool | None = None,
    lost: Callable[[str], None] | None = None,
) -> Iterator[Window]:
    """Label the windows of one recording as it is decoded, in memory that does not grow with its length.

    Each window is the clip that a manifest row with that start and end would be; the last one may be shorter.

    Parameters
    ----------
    student : Classifier or path
    path : path
    window : float
        Seconds, at most the student's ``audio.seconds``.
    hop : float, optional
        Seconds from the start of one window to the next, at most `window`; by default `window`.
    threshold : float, default=0.5
        Of the probabilities of a multi-label student, in (0, 1).
    channel, ffmpeg : optional
        As in ``audio.channel`` and ``audio.ffmpeg``; by default as the student was trained.
    lost : callable, optional
        See `embcomp.audio.decoding.decode`.

    Yields
    ------
    Window

    Raises
    ------
    AudioError
        The recording cannot be used. What it holds before a damaged place has been given by then.
    ConfigError
        `window`, `hop` or `threshold` is out of range.

    Examples
    --------
    >>> import embcomp
    >>> for found in embcomp.predict_windows("student", "night.wav", window=1.0):   # doctest: +SKIP
    ...     print(found.start, found.label)
    """
    classifier = student if isinstance(student, Classifier) else Classifier.load(student)
    check_windows(classifier.audio, window, hop, threshold)
    model, audio = WaveformClassifier(classifier), audio_with(classifier.audio, channel, ffmpeg)
    pieces = windows(
        path,
        audio.sample_rate,
        window,
        window if hop is None else hop,
        channel=audio.channel,
        ffmpeg=audio.ffmpeg,
        lost=lost,
    )
    waiting: list[tuple[float, np.ndarray]] = []

    def labelled() -> Iterator[Window]:
        found = model.probabilities([waveform for _, waveform in waiting])
        for (start, waveform), label, row in zip(waiting, model.labels(found, threshold), found):
            yield Window(start, round(start + len(waveform) / audio.sample_rate, 6), label, row)
        waiting.clear()

    for piece in pieces:
        waiting.append(piece)
        if len(waiting) == model.batch:
            yield from labelled()
    if waiting:
        yield from labelled()


def audio_with(audio: AudioConfig, channel: str | None, ffmpeg: bool | None) -> AudioConfig:
    """`audio` with another channel, or with ffmpeg, where asked for."""
    changes = {"channel": channel, "ffmpeg": ffmpeg}
    return replace(audio, **{name: value for name, value in changes.items() if value is not None})


def check_windows(audio: AudioConfig, window: float | None, hop: float | None, threshold: float) -> None:
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
    if not 0 < threshold < 1:
        raise ConfigError(f"--threshold must lie between 0 and 1, not {threshold:g}")
