"""What strategies choose from: what students make of the clips without a label, of those with one, and of examples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import decode
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, BadClip, ConfigError, DataError
from embcomp.prediction.labeller import audio_with
from embcomp.review.keys import clip_key
from embcomp.storage.content import span
from embcomp.students.classifier import Classifier
from embcomp.students.waveforms import WaveformClassifier


@dataclass(frozen=True)
class Pool:
    """Clips to choose from.

    Attributes
    ----------
    classes : tuple of str
    multi_label : bool
    probabilities : tuple of ndarray of shape (n, classes)
        Of the candidates, from each student.
    embeddings : ndarray of shape (n, width)
        Of the candidates, from the first student.
    known : ndarray of shape (k, width)
        Embeddings of the clips with a label, where the strategy uses them.
    like : ndarray of shape (m, width)
        Embeddings of the examples.
    like_names : tuple of str
    """

    classes: tuple[str, ...]
    multi_label: bool
    probabilities: tuple[np.ndarray, ...]
    embeddings: np.ndarray
    known: np.ndarray
    like: np.ndarray
    like_names: tuple[str, ...] = ()


class Budget:
    """How many more clips may be taken, in all and of each group.

    Parameters
    ----------
    groups : ndarray of shape (n,)
    per_group : int, optional
        At least 1; None is as many as wanted.

    Attributes
    ----------
    allows : ndarray of bool of shape (n,)
        Which candidates may still be taken.
    """

    def __init__(self, groups: np.ndarray, per_group: int | None = None):
        self.groups, self.per_group = groups, per_group
        self.allows = np.ones(len(groups), dtype=bool)
        self._taken: dict[str, int] = {}

    def take(self, row: int) -> None:
        """Take a candidate; where it was the last that its group may give, the others of the group are out."""
        self.allows[row] = False
        group = self.groups[row]
        self._taken[group] = self._taken.get(group, 0) + 1
        if self._taken[group] == self.per_group:
            self.allows[self.groups == group] = False


def outputs(
    classifier: Classifier,
    manifest: Manifest,
    ffmpeg: bool | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[BadClip]]:
    """What a student makes of each clip that can be used.

    Returns
    -------
    rows : ndarray of int64 of shape (n,)
        Of the manifest.
    probabilities : ndarray of shape (n, classes), float32
    embeddings : ndarray of shape (n, width), float32
    bad : list of BadClip
        Those that cannot be used.
    """
    model = WaveformClassifier(classifier)
    clips = Clips.of(manifest, audio_with(classifier.audio, None, ffmpeg))
    found: list[tuple[np.ndarray, np.ndarray]] = []
    rows: list[int] = []
    bad: list[BadClip] = []
    for some, waveforms in clips.usable_batches(model.batch, bad, progress):
        rows += some
        found.append(model.outputs(waveforms))
    width = classifier.network.embedding_width
    if not found:
        empty = np.empty((0, len(classifier.classes)), np.float32), np.empty((0, width), np.float32)
        return np.array(rows, dtype=np.int64), *empty, bad
    probabilities, embeddings = (np.concatenate(part) for part in zip(*found))
    if not (np.isfinite(probabilities).all() and np.isfinite(embeddings).all()):
        raise DataError("the student gives numbers that are not finite; train it again")
    return np.array(rows, dtype=np.int64), probabilities, embeddings, bad


def examples(
    classifier: Classifier, like: Sequence[str | os.PathLike], ffmpeg: bool | None = None
) -> tuple[np.ndarray, tuple[str, ...], set[str]]:
    """Embeddings (m, width) of audio files, or of parts ``FILE#START-END`` of them, their names, and their clip keys.

    Raises
    ------
    AudioError
        One cannot be used; it is named.
    """
    model, audio = WaveformClassifier(classifier), audio_with(classifier.audio, None, ffmpeg)
    waveforms, names, keys = [], [], set()
    for given in map(os.fspath, like):
        path, start, end = (given, None, None) if Path(given).exists() else _part(given)
        options = {"start": start, "end": end, "seconds": audio.seconds, "channel": audio.channel}
        try:
            waveforms.append(decode(path, audio.sample_rate, **options, ffmpeg=audio.ffmpeg, lost=lambda kind: None))
        except AudioError as error:
            raise AudioError(f"--like {given}: {error}") from None
        waveforms[-1] = waveforms[-1][: round(audio.seconds * audio.sample_rate)]
        names.append(given)
        keys.add(clip_key(path, start, end))
    if not waveforms:
        return np.empty((0, classifier.network.embedding_width), np.float32), (), keys
    return model.outputs(waveforms)[1], tuple(names), keys


def _part(given: str) -> tuple[str, float | None, float | None]:
    path, start, end = span(given)
    return (given, None, None) if path == given else (path, start, None if end == float("inf") else end)


def in_order_of(classes: Sequence[str], classifier: Classifier, who: str) -> np.ndarray:
    """Columns of a student's probabilities in the order of `classes`.

    Raises
    ------
    ConfigError
        Its classes are others.
    """
    if set(classes) != set(classifier.classes):
        other = sorted(set(classes) ^ set(classifier.classes))
        raise ConfigError(f"{who} has other classes than the first student: they differ in {', '.join(other[:5])}")
    return np.array([classifier.classes.index(name) for name in classes])
