"""Channels of a graph scaled to like ranges, which changes nothing in float and loses less in 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

WEIGHED = ("Conv", "Gemm")
# Operations that treat every channel alike and for which f(s x) = s f(x), s > 0.
HOMOGENEOUS = ("Relu", "Add", "MaxPool", "Squeeze", "Transpose", "ReduceMean")
SHARE = 0.5  # of a channel's range that moves into the weights which read it; the rest stays in the activation
LEAST = 1e-2  # of the largest scale: a channel that is nearly always zero is not blown up


def equalise(model: onnx.ModelProto, inputs: Iterable[np.ndarray]) -> onnx.ModelProto:
    """Scale the channels between layers so that one 8-bit range per tensor suits them all.

    A ReLU lets a positive factor pass, so the weights that write a channel can be divided by any s > 0 and the weights
    that read it multiplied by it (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
    Bias Correction", arXiv 1906.04721). Weights have one 8-bit range for each channel that they write. So a
    depthwise convolution takes any s, and s is the channel's range; elsewhere ``s = sqrt(r / w)`` with the ranges r
    of the activations and w of the weights that read them (equation 4 of Xiao et al. 2022, "SmoothQuant",
    arXiv 2211.10438, with alpha = 0.5). Tensors that are added share their scales.

    Parameters
    ----------
    model : ModelProto
        With one input, batch norms folded.
    inputs : iterable of ndarray
        To measure activations on.

    Returns
    -------
    ModelProto
        A copy; the values it computes are the same to rounding.
    """
    scaled = type(model).FromString(model.SerializeToString())
    _unshare(scaled)
    ranges = channel_ranges(scaled, inputs)
    weights = _Weights(scaled)
    for members in _linked_tensors(scaled):
        writers = [node for node in scaled.graph.node if node.output[0] in members and node.op_type in WEIGHED]
        readers = [node for node in scaled.graph.node if set(node.input) & members and node.op_type not in HOMOGENEOUS]
        if not _can_scale(scaled, members, writers, readers, weights):
            continue
        activation = np.max([ranges[node.input[0]] for node in readers], axis=0)
        if all(weights.depthwise(node) for node in readers):
            scales = activation
        else:
            reading = np.max([weights.read_range(node) for node in readers], axis=0)
            scales = activation**SHARE / np.maximum(reading, 1e-9) ** (1 - SHARE)
        if not scales.max() > 0:
            continue
        scales = np.maximum(scales / scales.max(), LEAST)
        for node in writers:
            weights.scale_written(node, 1 / scales)
        for node in readers:
            weights.scale_read(node, scales)
    return scaled


def channel_ranges(model: onnx.ModelProto, inputs: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Largest absolute value of each channel (axis 1) of every tensor that a convolution or linear layer reads."""
    import onnx
    import onnxruntime

    probe = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value for value in probe.graph.value_info}
    there = {value.name for value in probe.graph.output}
    names = list(dict.fromkeys(node.input[0] for node in probe.graph.node if node.op_type in WEIGHED))
    names = [name for name in names if name in known]
    probe.graph.output.extend(known[name] for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ranges: dict[str, np.ndarray] = {}
    for batch in inputs:
        for name, values in zip(names, session.run(names, {session.get_inputs()[0].name: batch})):
            largest = np.abs(values).max(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
            ranges[name] = np.maximum(ranges.get(name, 0.0), largest)
    return ranges


def _unshare(model: onnx.ModelProto) -> None:
    """Give every layer weights of its own: the exporter stores equal ones, zero biases say, once."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    used: set[str] = set()
    for node in model.graph.node:
        for place in range(1, len(node.input) if node.op_type in WEIGHED else 0):
            name = node.input[place]
            if name in used and name in tensors:
                copied = model.graph.initializer.add()
                copied.CopyFrom(tensors[name])
                copied.name = node.input[place] = f"{node.name}.{('weight', 'bias')[place - 1]}"
            used.add(name)


def _linked_tensors(model: onnx.ModelProto) -> list[set[str]]:
    """Tensors that only homogeneous operations lie between."""
    constants = {tensor.name for tensor in model.graph.initializer}
    group: dict[str, set[str]] = {}
    for node in model.graph.node:
        names = {*node.output}
        if node.op_type in HOMOGENEOUS:
            names |= {name for name in node.input if name and name not in constants}
        merged = set.union(names, *(group[name] for name in names if name in group))
        group.update(dict.fromkeys(merged, merged))
    return list({id(members): members for members in group.values()}.values())


def _can_scale(model, members: set[str], writers: list, readers: list, weights: _Weights) -> bool:
    """Whether weights write all of `members` and weights of the same channels read them."""
    nodes = [node for node in model.graph.node if set(node.output) & members]
    closed = all(node.op_type in (*WEIGHED, *HOMOGENEOUS) for node in nodes)
    # A constant that is added would have to be scaled, too.
    closed &= not any(set(node.input) & weights.names for node in nodes if node.op_type == "Add")
    seen = {value.name for value in (*model.graph.input, *model.graph.output)}
    if not (writers and readers and closed and not members & seen):
        return False
    if not all(node.op_type in WEIGHED and node.input[0] in members for node in readers):
        return False
    sizes = {weights.written(node) for node in writers} | {weights.read(node) for node in readers}
    return len(sizes) == 1


class _Weights:
    """Weights of convolutions and linear layers, by the channels they write and read."""

    def __init__(self, model: onnx.ModelProto):
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.names = set(self.tensors)

    def depthwise(self, node) -> bool:
        return node.op_type == "Conv" and _attribute(node, "group", 1) > 1

    def written(self, node) -> int:
        return self._rows(node).shape[0]

    def read(self, node) -> int:
        rows = self._rows(node)
        return rows.shape[0] if self.depthwise(node) else rows.shape[1]

    def read_range(self, node) -> np.ndarray:
        """Largest absolute weight that reads each channel."""
        rows = np.abs(self._rows(node))
        rows = rows.reshape(*rows.shape[:2], -1).max(axis=2)
        return rows.max(axis=1) if self.depthwise(node) else rows.max(axis=0)

    def scale_written(self, node, factors: np.ndarray) -> None:
        rows = self._rows(node)
        self._set(node, rows * factors.reshape(-1, *[1] * (rows.ndim - 1)))
        if len(node.input) > 2 and node.input[2]:
            self._put(node.input[2], self._get(node.input[2]) * factors)

    def scale_read(self, node, factors: np.ndarray) -> None:
        rows = self._rows(node)
        axis = 0 if self.depthwise(node) else 1
        self._set(node, rows * factors.reshape([-1 if place == axis else 1 for place in range(rows.ndim)]))

    def _rows(self, node) -> np.ndarray:
        """Weights with the written channels first; of grouped convolutions only depthwise ones occur."""
        values = self._get(node.input[1])
        return values.T if node.op_type == "Gemm" and not _attribute(node, "transB", 0) else values

    def _set(self, node, rows: np.ndarray) -> None:
        self._put(node.input[1], rows.T if node.op_type == "Gemm" and not _attribute(node, "transB", 0) else rows)

    def _get(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return numpy_helper.to_array(self.tensors[name]).astype(np.float64)

    def _put(self, name: str, values: np.ndarray) -> None:
        from onnx import numpy_helper

        self.tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))


def _attribute(node, name: str, default: int) -> int:
    return next((item.i for item in node.attribute if item.name == name), default)
