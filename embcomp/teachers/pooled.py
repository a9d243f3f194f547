"""Base of the teachers that describe a clip by vectors over time, which are then pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embcomp.config import setting
from embcomp.errors import DataError
from embcomp.storage.files import fingerprint
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.pooling import NAMES, parts, pool
from embcomp.teachers.windows import cut, padded, pieces


@dataclass(frozen=True)
class PooledSettings(TeacherSettings):
    """Settings of teachers that give vectors over time."""

    window: float = setting(
        0.0, "s; a longer clip is embedded in windows of this length; 0 is the whole clip", at_least=0, at_most=3600
    )
    overlap: float = setting(0.5, "share of a window that the next one repeats", at_least=0, at_most=0.95)
    pooling: tuple[str, ...] = setting(
        (), "over time, one after the other; none is what suits the teacher; statistics is mean and std", choices=NAMES
    )
    frames: int = setting(1, "vectors per clip, each of an equal share of its time", at_least=1)


class PooledTeacher(Teacher):
    """Cuts clips into windows, has `vectors` describe them, and pools what comes.

    A subclass sets `settings`, `sample_rate`, `width` and `default_pooling`, and defines `vectors` and `content`.

    Attributes
    ----------
    settings : PooledSettings
    width : int
        Of one vector over time.
    default_pooling : tuple of str
        Where the settings name none.
    longest, shortest : int
        Samples that it takes at once. Longer clips are cut into windows whatever the settings say, shorter ones
        padded with zeros. 0 is no limit.
    """

    settings: PooledSettings
    width: int
    default_pooling: tuple[str, ...] = ("mean",)
    longest: int = 0
    shortest: int = 0

    @property
    def pooling(self) -> tuple[str, ...]:
        """How vectors over time become one."""
        return parts(self.settings.pooling or self.default_pooling)

    @property
    def frames(self) -> int:
        return self.settings.frames

    @property
    def dim(self) -> int:
        return self.frames * len(self.pooling) * self.width

    def content(self) -> object:
        """Whatever decides on the vectors over time, as JSON can hold it: weights, layers, scaling."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Key of the content, the windows and the pooling."""
        settings = self.settings
        over = [settings.window, settings.overlap] if settings.window else []
        return fingerprint([self.name, self.content(), over, list(self.pooling), self.frames])

    def vectors(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Vectors over time of each waveform.

        Parameters
        ----------
        waveforms : sequence of ndarray of shape (samples,), float32
            At `sample_rate`, of any length from 1 on.

        Returns
        -------
        list of ndarray of shape (time, width)
            At least one row each.
        """
        raise NotImplementedError

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed clips; see `Teacher.embed`."""
        size = round(self.settings.window * self.sample_rate)
        hop = max(1, round(size * (1 - self.settings.overlap)))
        if self.longest and not 0 < size <= self.longest:
            size = hop = self.longest
        cuts = [pieces(padded(wave, self.shortest), size, hop) for wave in cut(waveforms, lengths)]
        rows = iter(self.vectors([piece for some in cuts for piece in some]))
        embedded = np.empty((len(cuts), self.dim), np.float32)
        for number, some in enumerate(cuts):
            over_time = np.concatenate([next(rows) for _ in some])
            if over_time.ndim != 2 or over_time.shape[1] != self.width or not len(over_time):
                raise DataError(
                    f"the teacher {self.settings.spec} gave vectors of shape {over_time.shape} where "
                    f"(time, {self.width}) was promised"
                )
            embedded[number] = pool(over_time, self.pooling, self.frames)
        return embedded
