"""Descriptors of voice by openSMILE, where its package is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from embcomp.config import setting
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, nearest
from embcomp.extras import imported, missing
from embcomp.storage.files import fingerprint
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.windows import cut, padded, shares

SAMPLE_RATE = 16_000
SHORTEST = 0.1  # s: below it the sets give NaN


class OpenSmileTeacher(Teacher):
    """A feature set of openSMILE (Eyben et al., ACM MM 2010): eGeMAPSv02, ComParE_2016, emobase.

    Parameters
    ----------
    settings : OpenSmileTeacher.Settings
        Its argument is the set.
    smile : opensmile.Smile

    Notes
    -----
    openSMILE's licence allows research and evaluation, not commercial products.
    """

    name = "opensmile"
    summary = "descriptors of voice: opensmile:eGeMAPSv02 (88), opensmile:ComParE_2016 (6,373)"
    sample_rate = SAMPLE_RATE

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        frames: int = setting(1, "vectors per clip, each of an equal share of its time", at_least=1)

        def conflict(self) -> str:
            return "" if self.argument else "the teacher 'opensmile' needs a set: opensmile:eGeMAPSv02"

    def __init__(self, settings: Settings, smile: Any, version: str):
        self.frames, self._smile, self._version = settings.frames, smile, version
        self._set = settings.argument
        self.dim = self.frames * len(smile.feature_names)

    @classmethod
    def missing(cls) -> str:
        return missing("opensmile")

    @classmethod
    def open(cls, settings: Settings, manifest: Manifest | None = None) -> OpenSmileTeacher:
        opensmile = imported("opensmile", f"{settings.spec} needs")
        known = {one.name: one for one in opensmile.FeatureSet}
        if settings.argument not in known:
            raise ConfigError(f"openSMILE has no set {settings.argument!r}; {nearest(settings.argument, known)}")
        smile = opensmile.Smile(known[settings.argument], opensmile.FeatureLevel.Functionals)
        return cls(settings, smile, opensmile.__version__)

    def fingerprint(self) -> str:
        """Key of the set and of openSMILE's version."""
        return fingerprint([self.name, self._set, self._version, self.frames])

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed clips; see `Teacher.embed`."""
        found = np.empty((len(lengths), self.dim), np.float32)
        for row, wave in enumerate(cut(waveforms, lengths)):
            found[row] = np.concatenate([self._describe(wave[part]) for part in shares(len(wave), self.frames)])
        return found

    def _describe(self, wave: np.ndarray) -> np.ndarray:
        wave = padded(wave, round(SHORTEST * SAMPLE_RATE))
        return self._smile.process_signal(wave, SAMPLE_RATE).to_numpy(np.float32)[0]
