"""Teachers in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from embcomp.errors import TeacherError
from embcomp.extras import imported, missing
from embcomp.storage.files import path_or_content
from embcomp.teachers.chain import ChainTeacher, Graph, Tensor, named
from embcomp.teachers.describe import ModelStep
from embcomp.teachers.pooled import PooledSettings

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OnnxTeacher(ChainTeacher):
    """One ONNX file, or a chain of them, described by a TOML beside them.

    Notes
    -----
    ``onnx:FILE.onnx``, ``onnx:FOLDER`` or ``onnx:DESCRIPTION.toml``; see `embcomp.teachers.describe`.
    """

    name = "onnx"
    summary = "ONNX models with a description beside them: onnx:FILE, onnx:FOLDER"
    suffix = ".onnx"

    @dataclass(frozen=True)
    class Settings(PooledSettings):
        def conflict(self) -> str:
            return "" if self.argument else "the teacher 'onnx' needs a model: onnx:FILE or onnx:FOLDER"

    @classmethod
    def missing(cls) -> str:
        return missing("onnxruntime", extra="onnx")

    @staticmethod
    def graph(path: Path, step: ModelStep) -> Graph:
        return OnnxGraph(path, step)


class OnnxGraph(Graph):
    """An ONNX Runtime session with its constant inputs, and its state from call to call."""

    def __init__(self, path: Path, step: ModelStep):
        self.path, self._step = path, step
        self._session = session(path)
        self.inputs = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor, self._session.get_outputs()))
        self.taken = named(path, "input", step.input, self.inputs)
        self._given = named(path, "output", step.output, self.outputs).name
        self._constants = {
            name: np.asarray(value, named(path, "input", name, self.inputs).dtype)
            for name, value in step.constants.items()
        }
        self._carried = {name: named(path, "input", name, self.inputs) for name in step.state}
        for name in step.state.values():
            named(path, "output", name, self.outputs)
        missing = [one.name for one in self.inputs if one.name not in {self.taken.name, *step.constants, *step.state}]
        if missing:
            raise TeacherError(
                f"{path} has the further inputs {', '.join(missing)}: give them in its description, as "
                f"models.constants.{missing[0]} = a number, or models.state.{missing[0]} = the output that follows it"
            )
        self.reset()

    def reset(self) -> None:
        self._state = {
            name: np.zeros([size or 1 for size in tensor.shape], tensor.dtype) for name, tensor in self._carried.items()
        }

    def run(self, values: np.ndarray) -> np.ndarray:
        feeds = {self.taken.name: np.ascontiguousarray(values, self.taken.dtype), **self._constants, **self._state}
        try:
            output, *state = self._session.run([self._given, *self._step.state.values()], feeds)
        except Exception as error:
            raise TeacherError(
                f"{self.path} takes {self.taken} and refuses an input of shape {values.shape} "
                f"({first_line(error)}); correct window or shape in its description"
            ) from None
        self._state = dict(zip(self._step.state, state))
        return output


def session(path: Path):
    """An ONNX Runtime session of the file at `path`, with as many threads as torch has.

    Raises
    ------
    TeacherError
        Missing or damaged.
    """
    onnxruntime = imported("onnxruntime", f"{path.name} needs", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path_or_content(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own classes share no base
        raise TeacherError(f"{path} does not open: {first_line(error)}; get the file again") from None


def tensors(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of the graph at `path`."""
    about = session(path)
    return tuple(map(_tensor, about.get_inputs())), tuple(map(_tensor, about.get_outputs()))


def _tensor(about) -> Tensor:
    shape = tuple(size if isinstance(size, int) else 0 for size in about.shape)
    return Tensor(about.name, shape, DTYPES.get(about.type, about.type))


def first_line(error: BaseException) -> str:
    """What an error says first, without the rest."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
