"""The log-mel front end as an ONNX graph of a dozen nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcomp.audio.logmel import LogMel
from embcomp.export.frontend import paddings

if TYPE_CHECKING:
    import onnx

PCM = 32_768.0


def logmel_graph(logmel: LogMel, samples: str, opset: int, ir_version: int) -> onnx.ModelProto:
    """Input ``waveform`` (n, samples), output ``logmel`` (n, n_mels, frames); any n and any length.

    The discrete Fourier transform is a strided convolution. Its kernel would be a megabyte; the file holds one
    period of the cosine and the sine instead, and of the mel filters, which are triangles, what is not zero. A runtime
    makes the full matrices once, when it loads the graph and folds constants.

    Parameters
    ----------
    samples : {"float32", "int16"}
        Waveforms in [-1, 1], or 16-bit PCM, which is divided by 32768.
    opset, ir_version : int
        Of the graph it will be joined to.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    before, after, offset = paddings(logmel)
    n_fft, bins, window = logmel.n_fft, logmel.n_fft // 2 + 1, logmel.window.numpy()
    filters = logmel.filters.numpy()
    places = np.flatnonzero(filters)
    angles = 2 * np.pi * np.arange(n_fft) / n_fft
    constants = {
        "period": np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32),
        "frequencies": np.arange(bins, dtype=np.int64)[:, None],
        "times": np.arange(logmel.win_length, dtype=np.int64) + offset,
        "n_fft": np.array(n_fft, dtype=np.int64),
        "window": window.astype(np.float32),
        "one": np.array([1], dtype=np.int64),
        "pads": np.array([0, 0, before, 0, 0, after], dtype=np.int64),
        "halves": np.array([bins, bins], dtype=np.int64),
        "filter_size": np.array([filters.size], dtype=np.int64),
        "filter_places": places.astype(np.int64),
        "filter_values": filters.ravel()[places],
        "filter_shape": np.array(filters.shape, dtype=np.int64),
        "floor": np.array(logmel.floor, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["frequencies", "times"], ["products"]),
        helper.make_node("Mod", ["products", "n_fft"], ["turns"]),
        helper.make_node("Add", ["turns", "n_fft"], ["sine_turns"]),
        helper.make_node("Concat", ["turns", "sine_turns"], ["places"], axis=0),
        helper.make_node("Gather", ["period", "places"], ["waves"]),
        helper.make_node("Mul", ["waves", "window"], ["windowed"]),
        helper.make_node("Unsqueeze", ["windowed", "one"], ["kernel"]),
        helper.make_node("ConstantOfShape", ["filter_size"], ["zeros"]),
        helper.make_node("ScatterElements", ["zeros", "filter_places", "filter_values"], ["flat_filters"]),
        helper.make_node("Reshape", ["flat_filters", "filter_shape"], ["filters"]),
    ]
    signal = "waveform"
    if samples == "int16":
        constants["pcm"] = np.array(1 / PCM, dtype=np.float32)
        nodes += [
            helper.make_node("Cast", ["waveform"], ["whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["whole", "pcm"], ["scaled"]),
        ]
        signal = "scaled"
    nodes += [
        helper.make_node("Unsqueeze", [signal, "one"], ["channel"]),
        helper.make_node("Pad", ["channel", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "kernel"], ["spectrum"], strides=[logmel.hop_length]),
        helper.make_node("Mul", ["spectrum", "spectrum"], ["squared"]),
        helper.make_node("Split", ["squared", "halves"], ["real", "imaginary"], axis=1),
        helper.make_node("Add", ["real", "imaginary"], ["power"]),
        helper.make_node("MatMul", ["filters", "power"], ["mel"]),
        helper.make_node("Add", ["mel", "floor"], ["above_floor"]),
        helper.make_node("Log", ["above_floor"], ["logmel"]),
    ]
    number = TensorProto.INT16 if samples == "int16" else TensorProto.FLOAT
    graph = helper.make_graph(
        [_named(node, position) for position, node in enumerate(nodes)],
        "logmel",
        [helper.make_tensor_value_info("waveform", number, ["n", "samples"])],
        [helper.make_tensor_value_info("logmel", TensorProto.FLOAT, ["n", logmel.n_mels, "frames"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    checker.check_model(model, full_check=True)
    return model


def _named(node: onnx.NodeProto, position: int) -> onnx.NodeProto:
    node.name = f"logmel_{position}_{node.op_type}"
    return node
