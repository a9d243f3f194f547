"""Teachers in TensorFlow Lite files, run by LiteRT."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from embcomp.errors import TeacherError
from embcomp.extras import imported, missing
from embcomp.teachers.chain import ChainTeacher, Graph, Tensor, named
from embcomp.teachers.describe import ModelStep
from embcomp.teachers.pooled import PooledSettings


class TfliteTeacher(ChainTeacher):
    """One TensorFlow Lite file, or a chain of them, described by a TOML beside them.

    Notes
    -----
    ``tflite:FILE.tflite``, ``tflite:FOLDER`` or ``tflite:DESCRIPTION.toml``; see `embcomp.teachers.describe`.
    The output may be any tensor of the graph, by its name.
    """

    name = "tflite"
    summary = "TensorFlow Lite models with a description beside them: tflite:FILE, tflite:FOLDER"
    suffix = ".tflite"

    @dataclass(frozen=True)
    class Settings(PooledSettings):
        def conflict(self) -> str:
            return "" if self.argument else "the teacher 'tflite' needs a model: tflite:FILE or tflite:FOLDER"

    @classmethod
    def missing(cls) -> str:
        return missing("ai_edge_litert", extra="tflite")

    @staticmethod
    def graph(path: Path, step: ModelStep) -> Graph:
        return TfliteGraph(path, step)


class TfliteGraph(Graph):
    """A LiteRT interpreter, built anew where its state has to go.

    ``reset_all_variables`` leaves the state of some streaming graphs as it is; a new interpreter has none.
    """

    def __init__(self, path: Path, step: ModelStep):
        self.path, self._step = path, step
        if step.state or step.constants:
            raise TeacherError(
                f"{path}: state and constants in a description are for ONNX; for TFLite set reset = 'clip'"
            )
        try:
            self._content = path.read_bytes()
        except OSError as error:
            raise TeacherError(f"cannot read {path}: {error.strerror or error}") from None
        self._inner = False
        self._start()
        self.inputs = tuple(map(_tensor, self._interpreter.get_input_details()))
        self.outputs = tuple(map(_tensor, self._interpreter.get_output_details()))
        self.taken = named(path, "input", step.input, self.inputs)
        if step.output and step.output not in {one.name for one in self.outputs}:
            self._inner = True  # tensors within the graph are kept only on demand
            self._start()
        every = self._interpreter.get_tensor_details() if self._inner else self._interpreter.get_output_details()
        self._index = {one["name"]: one["index"] for one in every}
        self._given = self._index[named(path, "tensor", step.output, tuple(map(_tensor, every))).name]
        into = next(one for one in self._interpreter.get_input_details() if one["name"] == self.taken.name)
        self._into, self._steps_in = into["index"], _steps(into)
        self._steps_out = _steps(next(one for one in every if one["index"] == self._given))
        self._fresh = True

    def _start(self) -> None:
        litert = imported("ai_edge_litert.interpreter", f"{self.path.name} needs", "ai-edge-litert", "tflite")
        plain = self._inner or not self._step.delegates
        kinds = litert.OpResolverType
        resolver = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kinds.AUTO
        try:
            with _quiet():
                self._interpreter = litert.Interpreter(
                    model_content=self._content,
                    num_threads=torch.get_num_threads(),
                    experimental_op_resolver_type=resolver,
                    experimental_preserve_all_tensors=self._inner,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise TeacherError(f"{self.path} does not open: {str(error).splitlines()[0]}; get the file again") from None
        self._shape = ()

    def reset(self) -> None:
        if not self._fresh:
            self._start()
            self._fresh = True

    def run(self, values: np.ndarray) -> np.ndarray:
        self._fresh = False
        interpreter = self._interpreter
        try:
            if values.shape != self._shape:
                interpreter.resize_tensor_input(self._into, values.shape, strict=True)
                interpreter.allocate_tensors()
                self._shape = values.shape
            if self._steps_in is not None:
                scale, zero, limits = self._steps_in
                values = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
            interpreter.set_tensor(self._into, np.ascontiguousarray(values, self.taken.dtype))
            interpreter.invoke()
            found = interpreter.get_tensor(self._given)
            return found if self._steps_out is None else _values(found, *self._steps_out)
        except (ValueError, RuntimeError) as error:
            self._start()
            raise TeacherError(
                f"{self.path} takes {self.taken} and refuses an input of shape {values.shape} "
                f"({str(error).splitlines()[0]}); correct window or shape in its description"
            ) from None


def _steps(about: dict) -> tuple[float, int, np.iinfo] | None:
    """Step, zero and limits of a quantised tensor: a value is step * (number - zero). None where it is not quantised."""
    scale, zero = about["quantization"]
    return (
        (np.float32(scale), zero, np.iinfo(about["dtype"])) if scale and np.dtype(about["dtype"]).kind in "iu" else None
    )


def _values(numbers: np.ndarray, scale: float, zero: int, limits: np.iinfo) -> np.ndarray:
    return (numbers.astype(np.float32) - zero) * scale


def _tensor(about: dict) -> Tensor:
    shape = tuple(max(int(size), 0) for size in about.get("shape_signature", about["shape"]))
    return Tensor(about["name"], shape, np.dtype(about["dtype"]).name)


@contextlib.contextmanager
def _quiet():
    """The runtime greets on standard error, from C++: once for every interpreter."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
