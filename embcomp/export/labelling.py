"""Audio labelled by a student or by a file exported from one, alike. For a file neither torch nor pandas is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embcomp.audio.mono import CHANNELS
from embcomp.config import AudioConfig
from embcomp.errors import ArtifactError, ConfigError, MissingDependencyError
from embcomp.export.info import ROWS
from embcomp.export.runtime import ExportedModel, is_exported, open_model
from embcomp.prediction.labeller import Labeller, RowLabeller
from embcomp.prediction.predicted import Labelling, Predicted, label_files
from embcomp.prediction.windows import Window, label_windows
from embcomp.storage.bringing import brought

if TYPE_CHECKING:
    from embcomp.students.classifier import Classifier


class ExportedLabeller(Labeller):
    """An exported student: classes, rate, window, channel and threshold are those that the file states.

    Raises
    ------
    ArtifactError
        The file holds no classifier, or takes no waveforms.
    """

    def __init__(self, model: ExportedModel):
        info = model.info
        if info.kind != "classifier":
            raise ArtifactError(f"{model.path} is an exported {info.kind}, which gives no labels; export a student")
        if info.input in ROWS:
            raise ArtifactError(f"{model.path} takes {info.input}, not audio; label those with embcomp predict")
        if info.input != "waveform":
            raise ArtifactError(
                f"{model.path} takes log-mels, not audio; export the student again with --input waveform"
            )
        self.model = model
        self.classes, self.multi_label, self.threshold = info.labels, info.multi_label, info.threshold
        channel, ffmpeg = info.audio.get("channel", "mix"), info.audio.get("ffmpeg", False)
        if channel not in CHANNELS or not isinstance(ffmpeg, bool):
            raise ArtifactError(f"{model.path}: its metadata are damaged; export it again")
        self.audio = AudioConfig(info.sample_rate, info.window, channel=channel, ffmpeg=ffmpeg)

    def probabilities(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        return self.model.probabilities(waveforms)


class ExportedRowLabeller(RowLabeller):
    """An exported student that takes a table or images."""

    def __init__(self, model: ExportedModel):
        from embcomp.config.inputs import WORDS
        from embcomp.data.inputs import InputSpec

        info = model.info
        self.model, self.takes = model, WORDS[info.input]
        self.inputs = InputSpec(info.input, (*info.shape, *[1] * (info.input == "table")), info.columns)
        self.classes, self.multi_label, self.threshold = info.labels, info.multi_label, info.threshold
        self.audio = AudioConfig()

    def row_probabilities(self, values: np.ndarray) -> np.ndarray:
        return self.model.probabilities(list(values.reshape(len(values), *self.model.info.shape)))


def open_labeller(model: Labeller | Classifier | str | os.PathLike, threads: int = 1) -> Labeller:
    """A student, its folder, or an exported file as what labels audio.

    Parameters
    ----------
    threads : int, default=1
        Of an exported file's runtime.

    Raises
    ------
    ArtifactError
        Missing, damaged, or no classifier.
    MissingDependencyError
        The file's runtime is not installed.
    """
    if isinstance(model, Labeller):
        return model
    if isinstance(model, (str, os.PathLike)):
        path = model = brought(model)
        if not path.is_dir() and (path.exists() or is_exported(path)):
            opened = open_model(path, threads)
            return (ExportedRowLabeller if opened.info.input in ROWS else ExportedLabeller)(opened)
    needs_torch(model)
    from embcomp.students.classifier import Classifier
    from embcomp.students.rows import RowClassifier
    from embcomp.students.waveforms import WaveformClassifier

    classifier = model if isinstance(model, Classifier) else Classifier.load(model)
    return WaveformClassifier(classifier) if classifier.inputs.kind == "audio" else RowClassifier(classifier)


def needs_torch(model: object) -> None:
    """Say what to do about a student that is opened where an exported file would be.

    Raises
    ------
    MissingDependencyError
        torch is not installed, or does not import.
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"{model} is no exported file but the folder of a student, which needs torch ({error}); install it, or export "
            "the student where torch is: embcomp export STUDENT --to onnx --out student.onnx"
        ) from None


def open_audio_labeller(model: Labeller | Classifier | str | os.PathLike, threads: int = 1) -> Labeller:
    """`open_labeller` for what has sound to label, and nothing else.

    Raises
    ------
    ConfigError
        The student takes a table or images.
    """
    found = open_labeller(model, threads)
    if isinstance(found, RowLabeller):
        raise ConfigError(f"{model} takes {found.takes}, not audio; label those with embcomp predict")
    return found


def predict(
    student: Labeller | Classifier | str | os.PathLike,
    paths: Iterable[str | os.PathLike] | str | os.PathLike,
    *,
    window: float | None = None,
    hop: float | None = None,
    threshold: float | None = None,
    recursive: bool = False,
    skip_bad: bool = False,
    channel: str | None = None,
    ffmpeg: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Label audio files with a student, through the front end it was trained with; or rows of tables and images.

    A file longer than the student's ``audio.seconds`` is cut there, and counted, unless `window` is
    given. The table of a long recording may be large; `predict_windows` gives one window after the other.

    Parameters
    ----------
    student : Classifier or path
        A student, its folder, or a file that ``embcomp export`` wrote of it (``.onnx``, ``.tflite``, ``.pte``).
    paths : path or iterable of paths
        Files, folders and glob patterns; see `embcomp.prediction.files.audio_files`. Of a student that takes a table
        or images, files of these; see `embcomp.data.inputs.read_inputs`.
    window : float, optional
        Seconds, at most the student's ``audio.seconds``.
    hop : float, optional
        Seconds from the start of one window to the next, at most `window`; by default `window`.
    threshold : float, optional
        Of the probabilities of a multi-label student, in (0, 1); by default what the exported file states, or 0.5.
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
        `window`, `hop` or `threshold` is out of range, or the student takes no audio and an option is for audio.
    StoreError
        A table or images are missing, damaged, or not what the student takes.

    Examples
    --------
    >>> import embcomp
    >>> embcomp.predict("student", "recordings/*.wav").table[["path", "label"]]   # doctest: +SKIP
    """
    how = Labelling(window, hop, threshold, recursive, skip_bad, channel, ffmpeg)
    return label_files(open_labeller(student), paths, how, progress=progress)


def predict_windows(
    student: Labeller | Classifier | str | os.PathLike,
    path: str | os.PathLike,
    *,
    window: float,
    hop: float | None = None,
    threshold: float | None = None,
    channel: str | None = None,
    ffmpeg: bool | None = None,
    lost: Callable[[str], None] | None = None,
) -> Iterator[Window]:
    """Label the windows of one recording as it is decoded, in memory that does not grow with its length.

    Each window is the clip that a manifest row with that start and end would be; the last one may be shorter.

    Parameters
    ----------
    student : Classifier or path
        A student, its folder, or a file that ``embcomp export`` wrote of it.
    path : path
    window : float
        Seconds, at most the student's ``audio.seconds``.
    hop : float, optional
        Seconds from the start of one window to the next, at most `window`; by default `window`.
    threshold : float, optional
        Of the probabilities of a multi-label student, in (0, 1); by default what the exported file states, or 0.5.
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
    options = {"hop": hop, "threshold": threshold, "channel": channel, "ffmpeg": ffmpeg, "lost": lost}
    yield from label_windows(open_labeller(student), path, window=window, **options)
