"""Predictions of a student for unlabelled audio files: one per file, or one per window of a long file."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from embcomp.audio.decoding import decode, duration, fit_length, resample
from embcomp.audio.features import front_end
from embcomp.config import AudioConfig
from embcomp.errors import AudioError, BadClip, ConfigError
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits

# Looked for in folders. Those of the second line cannot be decoded: they are found so that they are named, not passed over.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"),
    *(".m4a", ".mp4", ".aac", ".3gp", ".amr", ".wma"),
)
GRACE = 1e-3  # seconds; lengths are often written rounded
BATCH = 64  # pieces of audio at a time, fewer where they are long
BATCH_SAMPLES = 1 << 23
BLOCK_SECONDS = 60.0  # of a recording read at once


@dataclass(frozen=True)
class Predicted:
    """What `predict` found.

    Attributes
    ----------
    table : DataFrame
        One row per file or window: path, start and end of the audio used (seconds),
        label, probability (of the most probable class), then ``p:CLASS`` for every class. The label of a
        multi-label student is every class at or above the threshold, joined by ``|``.
    classes : tuple of str
    multi_label, windowed : bool
    cut : int
        Files of which only the start was used, because they are longer than the clips the student was trained on.
    bad : tuple of BadClip
        Files left out; their row is their place in the list, from 1.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    multi_label: bool
    windowed: bool
    cut: int
    bad: tuple[BadClip, ...]

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
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Label audio files with a student, through the front end it was trained with.

    A file longer than the student's ``audio.seconds`` is cut there, and counted, unless `window` is
    given. Windows are read a minute at a time, so a recording of hours takes no more memory than a short one;
    each is the clip that a manifest row with that start and end would be. The last one may be shorter.

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
    audio = classifier.audio
    _check(audio, window, hop, threshold)
    files = audio_files(paths, recursive)
    batches = _Batches(classifier, threshold)
    bad: list[BadClip] = []
    cut = 0
    for number, path in enumerate(files, 1):
        try:
            before = len(batches.places)
            for start, waveform in _pieces(path, audio, window, window if hop is None else hop):
                # If there is a bad file and none may be skipped, the others are only checked, to name all bad ones.
                if not bad or skip_bad:
                    batches.add(str(path), start, waveform)
            cut += window is None and duration(path) > audio.seconds + GRACE
        except AudioError as error:
            batches.forget(before)
            bad.append(BadClip(number, str(path), str(error)))
        if progress is not None:
            progress(number, len(files))
    if bad and (not skip_bad or len(bad) == len(files)):
        listing = "\n".join(f"  {clip.path}: {clip.reason}" for clip in bad)
        advice = "" if len(bad) == len(files) else "\nMend them, or leave them out with --skip-bad"
        raise AudioError(f"{len(bad)} of {len(files)} files cannot be used:\n{listing}{advice}", bad)
    return Predicted(batches.table(), classifier.classes, classifier.multi_label, window is not None, cut, tuple(bad))


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


def _check(audio: AudioConfig, window: float | None, hop: float | None, threshold: float) -> None:
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


def _pieces(path: Path, audio: AudioConfig, window: float | None, hop: float) -> Iterator[tuple[float, np.ndarray]]:
    """Starts in seconds and waveforms: of the whole file, cut, or of its windows one by one."""
    if window is None:
        yield 0.0, decode(path, audio.sample_rate, seconds=audio.seconds)[: round(audio.seconds * audio.sample_rate)]
        return
    total = duration(path)
    if total == 0:
        decode(path, audio.sample_rate, seconds=window)  # says what is wrong with the file, if anything is
        raise AudioError("its header does not tell its length; convert it to WAV or FLAC to label windows of it")
    rate = soundfile.info(path).samplerate
    starts = [round(number * hop, 6) for number in range(max(0, math.ceil((total - window - GRACE) / hop)) + 1)]
    # Seeking is slow in some formats, so that a block of windows is read at once; each is resampled by itself.
    at_once = max(1, int((BLOCK_SECONDS - window) / hop) + 1)
    for number in range(0, len(starts), at_once):
        block = starts[number : number + at_once]
        length = block[-1] + window - block[0]
        # Asked for a little more than there can be, the decoder notices a file that is cut off.
        waveform = decode(path, rate, start=block[0] or None, seconds=length + 10 * GRACE)
        for start in block:
            first, last = (round(time * rate) - round(block[0] * rate) for time in (start, start + window))
            piece = waveform[first:last]
            piece = piece if rate == audio.sample_rate else resample(piece, rate, audio.sample_rate)
            yield start, piece[: round(window * audio.sample_rate)]


class _Batches:
    """Collects pieces of audio into batches, and the student's predictions for them."""

    def __init__(self, classifier: Classifier, threshold: float):
        self.classifier, self.threshold = classifier, threshold
        self.module = front_end(classifier.audio)
        samples = round(classifier.audio.seconds * classifier.audio.sample_rate)
        self.batch = max(1, min(BATCH, BATCH_SAMPLES // samples))
        self.places: list[tuple[str, float, float]] = []
        self.waiting: list[np.ndarray] = []
        self.done: list[np.ndarray] = []

    def add(self, path: str, start: float, waveform: np.ndarray) -> None:
        end = start + len(waveform) / self.classifier.audio.sample_rate
        self.places.append((path, start, round(end, 6)))
        self.waiting.append(waveform)
        if len(self.waiting) == self.batch:
            self._flush()

    def forget(self, count: int) -> None:
        """Keep the first `count` pieces only: those after belong to a file that turned out bad."""
        self._flush()
        self.done = [np.concatenate(self.done)[:count]] if self.done else []
        del self.places[count:]

    def _flush(self) -> None:
        if not self.waiting:
            return
        waveforms, lengths = fit_length(self.waiting)
        frames = torch.from_numpy(self.module.frames(lengths))
        with torch.inference_mode():
            features = self.module(torch.from_numpy(waveforms))[..., : int(frames.max())]
            features *= (torch.arange(features.shape[-1]) < frames[:, None])[:, None]
        logits = predict_logits(self.classifier.network, features, frames)
        self.done.append(self.classifier.probabilities(logits).numpy())
        self.waiting = []

    def table(self) -> pd.DataFrame:
        self._flush()
        classes = np.array(self.classifier.classes, dtype=object)
        probabilities = np.concatenate(self.done)
        if self.classifier.multi_label:
            labels = ["|".join(classes[row >= self.threshold]) for row in probabilities]
        else:
            labels = classes[probabilities.argmax(axis=1)].tolist()
        table = pd.DataFrame(self.places, columns=["path", "start", "end"])
        table["label"], table["probability"] = labels, probabilities.max(axis=1)
        return pd.concat([table, pd.DataFrame(probabilities, columns=[f"p:{name}" for name in classes])], axis=1)
