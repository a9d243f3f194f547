"""A clip: its log-mel, and what a model says over time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from embcomp.audio.decoding import decode, open_audio
from embcomp.audio.logmel import LogMel, hz_to_mel, mel_to_hz
from embcomp.errors import AudioError
from embcomp.prediction.labeller import Labeller
from embcomp.prediction.windows import Window, check_windows, label_pieces
from embcomp.show.pictures import check_picture, new_figure, plain, save_picture
from embcomp.storage.content import span

LONGEST = 300.0  # seconds that are drawn
HIGHEST = 32_000  # Hz
BANDS = 80
RANGE = 8.0  # in units of the natural logarithm of the power, ten times that of decibels
LINES = 5  # classes that get one


def show_clip(
    clip: str | os.PathLike,
    out: str | os.PathLike,
    model: Labeller | None = None,
    window: float | None = None,
    hop: float | None = None,
    ffmpeg: bool = False,
) -> list[Path]:
    """Draw a clip.

    Parameters
    ----------
    clip : path
        A file, or a part of one as ``FILE#START-END``, seconds; at most the first 300 s are drawn.
    out : path
        PNG file.
    model : Labeller, optional
        Draw its probabilities, too: of the five classes that are likeliest anywhere.
    window, hop : float, optional
        Seconds; by default as long as the clips the model was trained on, and half of that.

    Returns
    -------
    list of Path

    Raises
    ------
    AudioError
        The clip cannot be read.
    ConfigError
        `out` is no PNG file, or `window` or `hop` is out of range.
    """
    check_picture(out)
    path, start, end = _place(os.fspath(clip))
    begin = start or 0.0
    try:
        with open_audio(path, ffmpeg) as source:
            rate = min(source.rate, HIGHEST)
        options = {"start": start, "end": end, "seconds": LONGEST, "ffmpeg": ffmpeg}
        waveform = decode(path, rate, **options)
        pieces = []
        if model is not None:
            pieces = _pieces(
                model, decode(path, model.audio.sample_rate, **options, channel=model.audio.channel), window, hop
            )
    except AudioError as error:
        raise AudioError(f"{clip}: {error}") from None
    figure = new_figure(9, 5.2 if pieces else 3)
    rows = figure.subplots(2 if pieces else 1, 1, sharex=True, squeeze=False)[:, 0]
    ends = begin, begin + len(waveform) / rate
    _draw_mel(rows[0], waveform, rate, ends)
    title = plain(os.path.basename(os.fspath(clip)))
    if pieces:
        mean = np.mean([one.probabilities for one in pieces], axis=0)
        title += f": {plain(model.labels(mean[None])[0] or 'none of the classes')}"
        _draw_probabilities(rows[1], pieces, model.classes, begin)
    rows[0].set_title(title)
    rows[-1].set(xlabel="s", xlim=ends)
    return [save_picture(figure, out)]


def _place(clip: str) -> tuple[str, float | None, float | None]:
    path, start, end = span(clip)
    if path == clip or os.path.exists(clip):
        return clip, None, None
    return path, start, None if end == float("inf") else end


def _pieces(model: Labeller, waveform: np.ndarray, window: float | None, hop: float | None) -> list[Window]:
    check_windows(model.audio, window, hop, None)
    rate = model.audio.sample_rate
    seconds = model.audio.seconds if window is None else window
    width, step = round(seconds * rate), max(1, round((seconds / 2 if hop is None else hop) * rate))

    def cut() -> Iterator[tuple[float, np.ndarray]]:
        for first in range(0, max(1, len(waveform) - width + step), step):
            yield first / rate, waveform[first : first + width]

    return list(label_pieces(model, cut()))


def _draw_mel(axes, waveform: np.ndarray, rate: int, ends: tuple[float, float]) -> None:
    module = LogMel(rate, 1024, min(1024, round(0.025 * rate)), max(round(0.01 * rate), len(waveform) // 2000), BANDS)
    with torch.inference_mode():
        values = module(torch.from_numpy(waveform[None]))[0].numpy()
    top = float(hz_to_mel(rate / 2))
    axes.imshow(
        values, origin="lower", aspect="auto", extent=(*ends, 0, top), vmin=values.max() - 2 * RANGE, cmap="magma",
        interpolation="nearest",
    )  # fmt: skip
    marks = [hz for hz in (0, 250, 500, 1000, 2000, 4000, 8000, 16_000) if hz <= rate / 2]
    axes.set_yticks(hz_to_mel(np.array(marks)), [f"{round(float(mel_to_hz(hz_to_mel(hz)))):d}" for hz in marks])
    axes.set_ylabel("Hz (mel scale)")


def _draw_probabilities(axes, pieces: list[Window], classes: tuple[str, ...], begin: float) -> None:
    each = np.array([one.probabilities for one in pieces])
    middles = [begin + (one.start + one.end) / 2 for one in pieces]
    # A window is a point at its middle; the first and the last reach to the edges.
    times = [begin + pieces[0].start, *middles, begin + pieces[-1].end]
    for number in np.argsort(-each.max(axis=0), kind="stable")[:LINES]:
        axes.plot(times, each[[0, *range(len(each)), -1], number], label=plain(classes[number], 30))
    axes.set(ylabel="probability", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
