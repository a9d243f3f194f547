"""Predictions of a student for unlabelled audio files: one per file, or one per window of a long file."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.audio.decoding import GRACE, decode
from embcomp.audio.mono import about_losses
from embcomp.config import AudioConfig
from embcomp.data.sounds import SUFFIXES
from embcomp.errors import AudioError, BadClip
from embcomp.students.classifier import Classifier
from embcomp.students.waveforms import WaveformClassifier, audio_with, check_windows, predict_windows


@dataclass(frozen=True)
class Predicted:
    """What `predict` found.

    Attributes
    ----------
    table : DataFrame
        One row per file or window: path, start and end (seconds),
        label, probability (of the most probable class), then ``p:CLASS`` for every class. The label of a
        multi-label student is every class at or above the threshold, joined by ``|``.
    classes : tuple of str
    multi_label, windowed : bool
    cut : int
        Files of which only the start was used, because they are longer than the clips the student was trained on.
    bad : tuple of BadClip
        Files left out; their row is their place in the list, from 1.
    notes : tuple of str
        What the user should know: channels that a mono mix loses.
    seconds : float
        Of audio, the overlap of windows counted once.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    multi_label: bool
    windowed: bool
    cut: int
    bad: tuple[BadClip, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def probabilities(self) -> np.ndarray:
        """Of each row and class, float32 (n, classes)."""
        return self.table[[f"p:{name}" for name in self.classes]].to_numpy(np.float32)


def predict(
    student: Classifier | str | os.PathLike,
    paths: Iterable[str | os.PathLike] | str | os.PathLike,
    *,
    window: float | None = None,
    hop: float | None = None,
    threshold: float = 0.5,
    recursive: bool = False,
    skip_bad: bool = False,
    channel: str | None = None,
    ffmpeg: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Label audio files with a student, through the front end it was trained with.

    A file longer than the student's ``audio.seconds`` is cut there, and counted, unless `window` is
    given. The table of a long recording may be large; `predict_windows` gives one window after the other.

    Parameters
    ----------
    student : Classifier or path
    paths : path or iterable of paths
        Files, folders and glob patterns; see `audio_files`.
    window : float, optional
        Seconds, at most the student's ``audio.seconds``.
    hop : float, optional
        Seconds from the start of one window to the next, at most `window`; by default `window`.
    threshold : float, default=0.5
        Of the probabilities of a multi-label student, in (0, 1).
    skip_bad : bool, default=False
        Leave files that cannot be used out. Otherwise they raise.
    channel, ffmpeg : optional
        As in ``audio.channel`` and ``audio.ffmpeg``; by default as the student was trained.
    progress : callable, optional
        Called with files done and files in all.

    Returns
    -------
    Predicted

    Raises
    ------
    AudioError
        Files cannot be used and `skip_bad` is false, or none can. Every one is named.
    ConfigError
        `window`, `hop` or `threshold` is out of range.

    Examples
    --------
    >>> import embcomp
    >>> embcomp.predict("student", "recordings/*.wav").table[["path", "label"]]   # doctest: +SKIP
    """
    classifier = student if isinstance(student, Classifier) else Classifier.load(student)
    check_windows(classifier.audio, window, hop, threshold)
    files = audio_files(paths, recursive)
    found = _Collected(classifier, threshold)
    bad: list[BadClip] = []
    lost: Counter[str] = Counter()
    cut = 0
    for number, path in enumerate(files, 1):
        kinds: set[str] = set()
        before = len(found.places)
        try:
            if window is None:
                audio = audio_with(classifier.audio, channel, ffmpeg)
                waveform, longer = start_of(path, audio, kinds.add)
                cut += longer
                # Once nothing can come of it, the other files are only looked at, to name all that are bad.
                if not bad or skip_bad:
                    found.add(str(path), waveform)
            else:
                options = {"hop": hop, "threshold": threshold, "channel": channel, "ffmpeg": ffmpeg, "lost": kinds.add}
                for one in predict_windows(classifier, path, window=window, **options):
                    found.take(str(path), one.start, one.end, one.probabilities)
        except AudioError as error:
            found.forget(before)
            bad.append(BadClip(number, str(path), str(error)))
        lost.update(kinds)
        if progress is not None:
            progress(number, len(files))
    refuse_bad(bad, len(files), skip_bad)
    return Predicted(
        found.table(),
        classifier.classes,
        classifier.multi_label,
        window is not None,
        cut,
        tuple(bad),
        about_losses(lost, "--channel left, right or loudest"),
        found.seconds,
    )


def start_of(path: Path, audio: AudioConfig, lost: Callable[[str], None]) -> tuple[np.ndarray, bool]:
    """The beginning of a file, as long as the student's clips, and whether the file goes on."""
    options = {"channel": audio.channel, "ffmpeg": audio.ffmpeg, "lost": lost}
    waveform = decode(path, audio.sample_rate, seconds=audio.seconds + 2 * GRACE, **options)
    return waveform[: round(audio.seconds * audio.sample_rate)], len(waveform) > (
        audio.seconds + GRACE
    ) * audio.sample_rate


def refuse_bad(bad: Sequence[BadClip], files: int, skip_bad: bool) -> None:
    """Raise AudioError naming every file that cannot be used, unless some are left and `skip_bad` is given."""
    if bad and (not skip_bad or len(bad) == files):
        listing = "\n".join(f"  {clip.path}: {clip.reason}" for clip in bad)
        advice = "" if len(bad) == files else "\nMend them, or leave them out with --skip-bad"
        raise AudioError(f"{len(bad)} of {files} files cannot be used:\n{listing}{advice}", bad)


def audio_files(paths: Iterable[str | os.PathLike] | str | os.PathLike, recursive: bool = False) -> list[Path]:
    """The files that `paths` name, each once.

    Parameters
    ----------
    paths : path or iterable of paths
        A file is taken as it is, whatever its name; of a folder all audio files in it (by suffix; hidden ones are
        not), sorted; a pattern with ``*``, ``?`` or ``[]`` is expanded, ``**`` into sub-folders.
    recursive : bool, default=False
        Take the audio files of sub-folders, too.

    Raises
    ------
    AudioError
        A folder without audio, or a pattern that matches nothing. A missing file is reported when it is read.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: dict[Path, None] = {}
    for given in map(os.fspath, paths):
        path = Path(given)
        if not path.exists() and glob.has_magic(given):
            matches = sorted(Path(name) for name in glob.glob(given, recursive=True))
            if not matches:
                raise AudioError(f"no file matches {given!r}; check the pattern, and the folder it starts from")
            for match in matches:
                found |= dict.fromkeys(_inside(match, recursive) if match.is_dir() else [match])
        elif path.is_dir():
            inside = _inside(path, recursive)
            if not inside:
                hint = "" if recursive else "; --recursive looks into its sub-folders, too"
                raise AudioError(f"{path} holds no audio file ({' '.join(SUFFIXES[:6])} ...){hint}")
            found |= dict.fromkeys(inside)
        else:
            found[path] = None
    if not found:
        raise AudioError("no audio file given; name files, folders or patterns")
    return list(found)


def _inside(folder: Path, recursive: bool) -> list[Path]:
    listing = folder.rglob("*") if recursive else folder.iterdir()
    # Copies from a Mac hold a hidden "._NAME.wav" beside every NAME.wav, which is no audio.
    return sorted(
        path for path in listing if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


class _Collected:
    """Rows of a table: whole files are put through the student in batches, windows come with their probabilities."""

    def __init__(self, classifier: Classifier, threshold: float):
        self.model, self.threshold = WaveformClassifier(classifier), threshold
        self.rate = classifier.audio.sample_rate
        self.places: list[tuple[str, float, float]] = []
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

    def _flush(self) -> None:
        if self.waiting:
            self.done.append(self.model.probabilities(self.waiting))
            self.waiting = []

    def table(self) -> pd.DataFrame:
        self._flush()
        found = np.concatenate(self.done)
        table = pd.DataFrame(self.places, columns=["path", "start", "end"])
        table["label"] = self.model.labels(found, self.threshold)
        table["probability"] = found.max(axis=1)
        names = [f"p:{name}" for name in self.model.classifier.classes]
        return pd.concat([table, pd.DataFrame(found, columns=names)], axis=1)
