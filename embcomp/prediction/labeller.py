"""What labels audio, or rows of tables and images: a student, or a file that was exported from one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from embcomp.config import AudioConfig
from embcomp.errors import BadClip, ConfigError

if TYPE_CHECKING:
    from embcomp.data.inputs import InputSpec

THRESHOLD = 0.5
BATCH = 64  # pieces of audio at a time, fewer where they are long
BATCH_SAMPLES = 1 << 23


class Labeller(ABC):
    """A model that gives probabilities of classes for waveforms.

    Attributes
    ----------
    classes : tuple of str
    multi_label : bool
        Whether a clip may have several labels.
    threshold : float
        From this probability on a class of a multi-label model applies, in (0, 1).
    audio : AudioConfig
        Of the clips it was trained on: sample rate, length, channel.
    """

    classes: tuple[str, ...]
    multi_label: bool
    audio: AudioConfig
    threshold: float = THRESHOLD

    @abstractmethod
    def probabilities(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Of each waveform (samples,) in [-1, 1] and class, float32 (n, classes)."""

    @property
    def batch(self) -> int:
        """Waveforms that are put through at once."""
        return max(1, min(BATCH, BATCH_SAMPLES // round(self.audio.seconds * self.audio.sample_rate)))

    def labels(self, probabilities: np.ndarray, threshold: float | None = None) -> list[str]:
        """The label of each row (n, classes): the likeliest class, or all from the threshold on, joined by ``|``."""
        classes = np.array(self.classes, dtype=object)
        if self.multi_label:
            least = self.threshold if threshold is None else threshold
            return ["|".join(classes[row >= least]) for row in probabilities]
        return classes[probabilities.argmax(axis=1)].tolist()


class RowLabeller(Labeller):
    """A model that takes rows of a table, or images, and no audio.

    Attributes
    ----------
    takes : str
        What, in words.
    inputs : InputSpec
        The same exactly.
    """

    takes: str
    inputs: InputSpec

    def probabilities(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        self.refuse("labelling audio")

    def refuse(self, what: str) -> NoReturn:
        """Refuse what is for models that take audio; `what` names it.

        Raises
        ------
        ConfigError
        """
        raise ConfigError(f"{what} is for students that take audio; this one takes {self.takes}")

    @abstractmethod
    def row_probabilities(self, values: np.ndarray) -> np.ndarray:
        """Of each input (n, *shape), float32, and class: (n, classes)."""

    def label_rows(self, path: Path) -> tuple[list[str], np.ndarray, list[BadClip]]:
        """Ids of the usable rows in a file, probabilities (n, classes) of each, and the rows that cannot be used.

        Raises
        ------
        StoreError
            The file is missing or damaged.
        ConfigError
            It holds other inputs than the model takes.
        """
        from embcomp.data.inputs import rows_for  # needs pandas, which labelling audio does without

        rows = rows_for(self.inputs, path)
        values = rows.take(rows.ids)
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        bad = [
            BadClip(row + 1, rows.ids[row], "a number is missing or not finite")
            for row in np.flatnonzero(~finite).tolist()
        ]
        found = np.empty((0, len(self.classes)), dtype=np.float32)
        if finite.any():
            found = self.row_probabilities(values[finite])
        return [name for name, usable in zip(rows.ids, finite) if usable], found, bad


def audio_with(audio: AudioConfig, channel: str | None, ffmpeg: bool | None) -> AudioConfig:
    """`audio` with another channel, or with ffmpeg, where asked for."""
    changes = {"channel": channel, "ffmpeg": ffmpeg}
    return replace(audio, **{name: value for name, value in changes.items() if value is not None})
