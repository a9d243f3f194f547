"""What a format of exported files is: one class with a name, what it needs, and how it writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from embcomp.errors import ConfigError
from embcomp.export.info import ROWS, ModelInfo
from embcomp.export.runtime import ExportedModel, open_model
from embcomp.export.source import Source
from embcomp.extras import imported


@dataclass(frozen=True)
class Calibration:
    """Clips that decide how numbers are rounded to 8 bits.

    Attributes
    ----------
    rows : list of ndarray
        Waveforms (samples,) in [-1, 1] from which the ranges of activations are taken, class-balanced.
    validation : list of ndarray
        Further clips, on which the layers that stay in float are chosen; where there are none, `rows`.
    training : list of ndarray
        Clips that a student is fine-tuned on, see `embcomp.export.finetune`; none: it is not.
    seed : int
        Of the order of these.
    """

    rows: list[np.ndarray]
    validation: list[np.ndarray] = field(default_factory=list)
    training: list[np.ndarray] = field(default_factory=list)
    seed: int = 0


class Format(ABC):
    """A file format. Adding one touches two files: its own, and the tuple in `embcomp.export.formats`.

    Attributes
    ----------
    name : str
        As ``--to`` takes it.
    suffix : str
        Of its files, with the dot.
    summary : str
        One line for help texts.
    extra : str
        Of the package, which installs what the format needs; empty where it needs nothing.
    modules : tuple of str
        What must import.
    sources : tuple of str
        Kinds of `ModelInfo` it can hold.
    rows : bool
        Whether it can hold students that take tables or images.
    int8 : bool
        Whether it can hold 8-bit numbers.
    calibrated : bool
        Whether those are rounded by what clips show.
    finetunes : bool
        Whether a student can be fine-tuned for them.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    summary: ClassVar[str]
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ("classifier",)
    rows: ClassVar[bool] = False
    int8: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True
    finetunes: ClassVar[bool] = True

    def check(self, source: Source, path: Path, int8: bool) -> None:
        """Refuse before anything runs.

        Raises
        ------
        MissingDependencyError
            A package is not installed, or does not import.
        ConfigError
            The format cannot hold this, or the file's name has another suffix.
        """
        for name in self.modules:
            imported(name, f"--to {self.name} needs", extra=self.extra)
        if source.info.kind not in self.sources:
            raise ConfigError(
                f"--to {self.name} takes a {' or '.join(self.sources)}, not a {source.info.kind}; use --to onnx"
            )
        if source.info.input in ROWS and not self.rows:
            raise ConfigError(f"--to {self.name} is for students that take audio; use --to onnx")
        if int8 and source.info.input in ROWS:
            raise ConfigError("--int8 is for students that take audio; leave it out")
        if int8 and not self.int8:
            raise ConfigError(f"--to {self.name} has no --int8; use --to onnx, tflite or c")
        if int8 and source.info.kind != "classifier":
            raise ConfigError(f"--int8 is of students, not of a {source.info.kind}; leave it out")
        if path.suffix != self.suffix:
            raise ConfigError(
                f"--to {self.name} writes {self.suffix} files; name it {path.with_suffix(self.suffix).name}"
            )

    @abstractmethod
    def write(self, source: Source, path: Path, calibration: Calibration | None = None) -> ModelInfo:
        """Write the file `path`; with clips to calibrate on, in 8 bits. Returns what the file says of itself."""

    def open(self, path: Path, info: ModelInfo) -> ExportedModel:
        """A file that was just written, ready to be compared; `info` is what `write` returned."""
        return open_model(path)
