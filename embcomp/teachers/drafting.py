"""A first description of a model file, from what its graph says of itself."""

from __future__ import annotations

from pathlib import Path

from embcomp.errors import TeacherError
from embcomp.teachers import onnx, tflite
from embcomp.teachers.chain import Tensor
from embcomp.teachers.describe import ModelStep, sha256


def draft(path: Path) -> str:
    """The text of a description, to be corrected by whoever knows the model.

    Raises
    ------
    TeacherError
        The file is of another kind, missing or damaged.
    """
    if path.suffix == ".onnx":
        inputs, outputs = onnx.tensors(path)
    elif path.suffix == ".tflite":
        graph = tflite.TfliteGraph(path, ModelStep(file=path.name))
        inputs, outputs = graph.inputs, graph.outputs
    else:
        raise TeacherError(f"{path}: a model is a file that ends in .onnx or .tflite")
    taken, given = inputs[0], outputs[0]
    samples = taken.shape[-1] if taken.shape else 0
    lines = [
        f"# A description of {path.name}: correct what does not fit, then `embcomp teachers check`.",
        *(f"# input:  {one}" for one in inputs),
        *(f"# output: {one}" for one in outputs),
        "format = 1",
        "sample_rate = 16000  # Hz: what the model was trained at",
        "multiply = 1.0  # samples are in [-1, 1]; 32767.0 for a model that takes 16-bit values",
        'pooling = ["mean"]',
        "",
        "[[models]]",
        f'file = "{path.name}"',
        f'sha256 = "{sha256(path)}"',
        f'input = "{taken.name}"',
        f'output = "{given.name}"',
        *(
            [f"window = {samples}", f"hop = {max(samples // 2, 1)}"]
            if samples > 1
            else ["window = 0  # the whole clip"]
        ),
        *_time(given),
        *(f"constants.{one.name} = 0  # {one}; or state.{one.name} = its output" for one in inputs[1:]),
    ]
    return "\n".join(lines) + "\n"


def _time(given: Tensor) -> list[str]:
    if len(given.shape) < 3:
        return ["time = -1  # one vector per window"]
    return [f"time = 1  # of {given}: the axis that is time; -1 where a window gives one vector"]
