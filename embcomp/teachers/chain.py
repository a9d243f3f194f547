"""A chain of model files over a clip: windows in, vectors over time out, whatever the runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError, nearest
from embcomp.storage.bringing import brought, brought_from
from embcomp.teachers.catalogue import fetched_folder
from embcomp.teachers.describe import Description, ModelStep, find_description
from embcomp.teachers.pooled import PooledSettings, PooledTeacher
from embcomp.teachers.windows import padded, windows

AT_ONCE = 64  # windows in one call, at most: what a call needs of memory stays small


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph; a size that may vary is 0."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join(str(size or '?') for size in self.shape)}]"


class Graph(ABC):
    """One model file, opened by its runtime.

    Attributes
    ----------
    inputs, outputs : tuple of Tensor
    taken : Tensor
        The input that takes the windows.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    taken: Tensor

    @abstractmethod
    def reset(self) -> None:
        """Forget earlier calls."""

    @abstractmethod
    def run(self, values: np.ndarray) -> np.ndarray:
        """The output for `values`, which have the shape of `taken`."""


def named(path: Path, kind: str, name: str, tensors: Sequence[Tensor]) -> Tensor:
    """The tensor called `name`, or the first where none is named.

    Raises
    ------
    TeacherError
        None has this name.
    """
    if not name:
        return tensors[0]
    found = next((one for one in tensors if one.name == name), None)
    if found is None:
        raise TeacherError(f"{path} has no {kind} {name!r}: {nearest(name, [one.name for one in tensors])}")
    return found


class ChainTeacher(PooledTeacher):
    """Base of the teachers that run model files as a `Description` says.

    Parameters
    ----------
    settings : PooledSettings
        Its argument is a model file, a folder of them, or a description.
    description : Description
    """

    suffix: ClassVar[str]

    def __init__(self, settings: PooledSettings, description: Description):
        self.settings = settings
        self.description = description
        self.sample_rate = description.sample_rate
        self.default_pooling = description.pooling
        self._graphs = [self.graph(description.folder / step.file, step) for step in description.models]
        self._width = 0

    @classmethod
    def open(cls, settings: PooledSettings, manifest: Manifest | None = None) -> ChainTeacher:
        path = brought(settings.argument)
        if not path.is_absolute() and not path.exists():
            fetched = fetched_folder(settings.argument)
            path = fetched or (brought_from(manifest.folder, path) if manifest is not None else path)
        return cls(settings, find_description(path, cls.suffix))

    @classmethod
    def require(cls, settings: PooledSettings) -> None:
        super().require(settings)
        if not Path(settings.argument).exists():
            fetched_folder(settings.argument)

    @staticmethod
    @abstractmethod
    def graph(path: Path, step: ModelStep) -> Graph:
        """Open one model."""

    @property
    def width(self) -> int:
        if not self._width:
            # What comes of silence is as wide as what comes of sound; the graphs need not tell their shapes.
            longest = max(self.description.shortest, self.sample_rate)
            self._width = self.vectors([np.zeros(longest, np.float32)])[0].shape[1]
        return self._width

    def content(self) -> object:
        return self.description.content()

    def vectors(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._vectors(wave) for wave in waveforms]

    def _vectors(self, waveform: np.ndarray) -> np.ndarray:
        about = self.description
        rows = padded(waveform, about.shortest, about.pad)
        if about.multiply != 1:
            rows = rows * np.float32(about.multiply)
        for step, graph in zip(about.models, self._graphs):
            rows = through(graph, step, rows)
        return rows


def through(graph: Graph, step: ModelStep, rows: np.ndarray) -> np.ndarray:
    """Rows (time, ...) through one model, as float32 (time, width)."""
    if step.reset == "clip" or step.state:
        graph.reset()
    some = windows(rows, step.window, step.hop or step.window, step.tail) if step.window else rows[None]
    if step.transpose:
        some = np.ascontiguousarray(some.swapaxes(1, -1))
    if step.shape:
        if np.prod(step.shape) != some[0].size:
            raise TeacherError(
                f"{step.file}: a window of {some[0].shape} values does not fit shape = {list(step.shape)} of its "
                "description; correct models.shape or models.window"
            )
        some = some.reshape(len(some), *step.shape)
    alone = len(graph.taken.shape) == some.ndim - 1  # the graph has no axis of windows
    size = 1 if alone or step.state or step.reset == "clip" else (step.batch or graph.taken.shape[0] or AT_ONCE)
    found = []
    for first in range(0, len(some), size):
        part = some[first : first + size]
        output = graph.run(part[0] if alone else part)
        found.append(_rows(output, step, len(part)))
    rows = found[0] if len(found) == 1 else np.concatenate(found)
    if step.divide != 1:
        rows = rows / np.float32(step.divide)
    return rows + np.float32(step.add) if step.add else rows


def _rows(output: np.ndarray, step: ModelStep, count: int) -> np.ndarray:
    """The output for `count` windows as (time, width)."""
    if step.time >= output.ndim:
        raise TeacherError(f"{step.file} gives shape {output.shape}: it has no axis {step.time}; correct models.time")
    if step.time < 0:
        if output.size % count:
            raise TeacherError(f"{step.file} gives shape {output.shape} for {count} windows; set models.batch = 1")
        return output.reshape(count, -1).astype(np.float32, copy=False)
    if count > 1 and (step.time == 0 or len(output) != count):
        raise TeacherError(f"{step.file} gives shape {output.shape} for {count} windows; set models.batch = 1")
    front = np.moveaxis(output, step.time, 1 if count > 1 else 0)
    length = output.shape[step.time] * (count if count > 1 else 1)
    return np.ascontiguousarray(front).reshape(length, -1).astype(np.float32, copy=False)
