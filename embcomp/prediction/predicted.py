"""Predictions of a model: one per audio file, one per window of a long one, or one per row of a table or of images."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embcomp import errors
from embcomp.audio.decoding import GRACE, decode
from embcomp.audio.mono import about_losses
from embcomp.config import AudioConfig
from embcomp.errors import AudioError, BadClip, StoreError
from embcomp.prediction.files import audio_files
from embcomp.prediction.labeller import Labeller, RowLabeller, audio_with
from embcomp.prediction.windows import check_windows, label_windows
from embcomp.storage.bringing import brought
from embcomp.storage.places import named

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[str, float, float]  # path, start and end in seconds


@dataclass(frozen=True)
class Predicted:
    """What `predict` found.

    Attributes
    ----------
    places : list of (str, float, float)
        Of each row: path, start and end (seconds); of tables and images the id, and no times (NaN).
    labels : list of str
        The likeliest class of each row; of a multi-label model every class at or above the threshold, joined by ``|``.
    probabilities : ndarray of shape (n, classes), float32
    classes : tuple of str
    multi_label, windowed : bool
    cut : int
        Files of which only the start was used, because they are longer than the clips the model was trained on.
    bad : tuple of BadClip
        Files left out; their row is their place in the list, from 1.
    notes : tuple of str
        What the user should know: channels that a mono mix loses.
    seconds : float
        Of audio, the overlap of windows counted once.
    """

    places: list[Place]
    labels: list[str]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    multi_label: bool
    windowed: bool
    cut: int = 0
    bad: tuple[BadClip, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.places)

    @property
    def timed(self) -> bool:
        """Whether its rows are times of recordings."""
        return not any(math.isnan(start) for _, start, _ in self.places)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per file or window: path, start, end, label, probability (of the likeliest class), ``p:CLASS`` of each.

        Rows of tables and images have no start and no end.
        """
        import pandas as pd

        table = pd.DataFrame(self.places, columns=["path", "start", "end"])
        if not self.timed:
            table = table[["path"]].copy()
        table["label"] = self.labels
        table["probability"] = self.probabilities.max(axis=1)
        columns = [f"p:{name}" for name in self.classes]
        return pd.concat([table, pd.DataFrame(self.probabilities, columns=columns)], axis=1)


@dataclass(frozen=True)
class Labelling:
    """How files are labelled: the settings of `embcomp.predict`, which says what they mean."""

    window: float | None = None
    hop: float | None = None
    threshold: float | None = None
    recursive: bool = False
    skip_bad: bool = False
    channel: str | None = None
    ffmpeg: bool | None = None

    @property
    def of_audio(self) -> dict[str, object]:
        """What is set that holds for audio alone, by the option of the command line."""
        names = ("window", "hop", "channel", "ffmpeg", "recursive")
        return {f"--{name}": getattr(self, name) for name in names if getattr(self, name)}


def label_files(
    model: Labeller,
    paths: Iterable[str | os.PathLike] | str | os.PathLike,
    how: Labelling,
    *,
    shown: Callable[[Path], str] = named,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Label audio files; see `embcomp.predict`.

    Parameters
    ----------
    how : Labelling
    shown : callable
        How a path is called in the result and in messages.
    """
    if isinstance(model, RowLabeller):
        for option in how.of_audio:
            model.refuse(option)
        return _label_rows(model, paths, how.threshold, how.skip_bad)
    check_windows(model.audio, how.window, how.hop, how.threshold)
    files = audio_files(paths, how.recursive)
    found = _Collected(model, how.threshold)
    bad: list[BadClip] = []
    lost: Counter[str] = Counter()
    cut = 0
    for number, path in enumerate(files, 1):
        kinds: set[str] = set()
        before = len(found.places)
        try:
            if how.window is None:
                waveform, longer = start_of(path, audio_with(model.audio, how.channel, how.ffmpeg), kinds.add)
                cut += longer
                # Once nothing can come of it, the other files are only looked at, to name all that are bad.
                if not bad or how.skip_bad:
                    found.add(shown(path), waveform)
            else:
                options = {name: getattr(how, name) for name in ("window", "hop", "threshold", "channel", "ffmpeg")}
                for one in label_windows(model, path, **options, lost=kinds.add):
                    found.take(shown(path), one.start, one.end, one.probabilities)
        except AudioError as error:
            found.forget(before)
            bad.append(BadClip(number, shown(path), str(error)))
        lost.update(kinds)
        if progress is not None:
            progress(number, len(files))
    refuse_bad(bad, len(files), how.skip_bad)
    probabilities = found.probabilities()
    return Predicted(
        found.places,
        model.labels(probabilities, how.threshold),
        probabilities,
        model.classes,
        model.multi_label,
        how.window is not None,
        cut,
        tuple(bad),
        about_losses(lost, "--channel left, right or loudest"),
        found.seconds,
    )


def _label_rows(
    model: RowLabeller,
    paths: Iterable[str | os.PathLike] | str | os.PathLike,
    threshold: float | None,
    skip_bad: bool,
) -> Predicted:
    """Label the rows of files of tables or images."""
    check_windows(model.audio, None, None, threshold)
    found = [model.label_rows(brought(path)) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    ids = [name for names, _, _ in found for name in names]
    bad = [clip for _, _, some in found for clip in some]
    refuse_bad(bad, len(ids) + len(bad), skip_bad, "rows")
    if not ids:
        raise StoreError("there are no rows to label")
    probabilities = np.concatenate([rows for _, rows, _ in found])
    places = [(name, math.nan, math.nan) for name in ids]
    labels = model.labels(probabilities, threshold)
    return Predicted(places, labels, probabilities, model.classes, model.multi_label, False, bad=tuple(bad))


def start_of(path: Path, audio: AudioConfig, lost: Callable[[str], None]) -> tuple[np.ndarray, bool]:
    """The beginning of a file, as long as the student's clips, and whether the file goes on."""
    options = {"channel": audio.channel, "ffmpeg": audio.ffmpeg, "lost": lost}
    waveform = decode(path, audio.sample_rate, seconds=audio.seconds + 2 * GRACE, **options)
    return waveform[: round(audio.seconds * audio.sample_rate)], len(waveform) > (
        audio.seconds + GRACE
    ) * audio.sample_rate


def refuse_bad(bad: Sequence[BadClip], files: int, skip_bad: bool, what: str = "files") -> None:
    """`embcomp.errors.refuse_bad` of files that no manifest lists, so that their rows say nothing."""
    errors.refuse_bad(bad, files, skip_bad, what, lambda clip: f"{clip.path}: {clip.reason}")


class _Collected:
    """Rows of a table: whole files are put through the model in batches, windows come with their probabilities."""

    def __init__(self, model: Labeller, threshold: float | None):
        self.model, self.threshold = model, threshold
        self.rate = model.audio.sample_rate
        self.places: list[Place] = []
        self.waiting: list[np.ndarray] = []
        self.done: list[np.ndarray] = []

    @property
    def seconds(self) -> float:
        """Of audio, the overlap of windows counted once."""
        last: dict[str, float] = {}
        for path, _, end in self.places:
            last[path] = max(end, last.get(path, 0.0))
        return sum(last.values())

    def add(self, path: str, waveform: np.ndarray) -> None:
        self.places.append((path, 0.0, round(len(waveform) / self.rate, 6)))
        self.waiting.append(waveform)
        if len(self.waiting) == self.model.batch:
            self._flush()

    def take(self, path: str, start: float, end: float, probabilities: np.ndarray) -> None:
        self.places.append((path, start, end))
        self.done.append(probabilities[None])

    def forget(self, count: int) -> None:
        """Keep the first `count` rows only: those after belong to a file that turned out bad."""
        self._flush()
        self.done = [np.concatenate(self.done)[:count]] if self.done else []
        del self.places[count:]

    def probabilities(self) -> np.ndarray:
        self._flush()
        return np.concatenate(self.done)

    def _flush(self) -> None:
        if self.waiting:
            self.done.append(self.model.probabilities(self.waiting))
            self.waiting = []
