"""Model files of a few operations, in ONNX and TensorFlow Lite."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def onnx_matrix(path: Path, matrix: np.ndarray, *, rows=None, extra=()) -> Path:
    """x (rows or any, samples) @ matrix (samples, width); of fixed rows if `rows` is given."""
    import onnx
    from onnx import TensorProto, helper

    samples, width = matrix.shape
    first = "n" if rows is None else rows
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "matrix"], ["y"])],
        "matrix",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [first, samples])]
        + [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in extra],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [first, width])],
        [onnx.numpy_helper.from_array(matrix.astype(np.float32), "matrix")],
    )
    return _save_onnx(graph, path)


def onnx_frames(path: Path, size: int, scale: float = 2.0) -> Path:
    """A waveform (1, samples) as (1, 1, time, size): samples in frames of `size`, times `scale`."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["input", "shape"], ["cut"]),
            helper.make_node("Mul", ["cut", "scale"], ["output"]),
        ],
        "frames",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, "samples"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "time", size])],
        [
            onnx.numpy_helper.from_array(np.array([1, 1, -1, size]), "shape"),
            onnx.numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        ],
    )
    return _save_onnx(graph, path)


def onnx_running_sum(path: Path, samples: int) -> Path:
    """A streaming graph: the mean of each window, times `gain`, added to `state`, which is also `new_state`."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
            helper.make_node("Add", ["state", "scaled"], ["new_state"]),
            helper.make_node("Identity", ["new_state"], ["y"]),
        ],
        "sum",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, samples]),
            helper.make_tensor_value_info("gain", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 1]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("y", "new_state")],
    )
    return _save_onnx(graph, path)


def _save_onnx(graph, path: Path) -> Path:
    import onnx
    from onnx import helper

    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def tflite_matrix(path: Path, matrix: np.ndarray, *, batch: int = 1, any_batch: bool = False) -> Path:
    """relu(x (batch, samples) @ matrix (samples, width)), then doubled; the tensor before the doubling is ``inner``."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    samples, width = matrix.shape
    model = schema.ModelT()
    model.version = 3
    model.description = "matrix"

    def buffer(values: np.ndarray | None):
        one = schema.BufferT()
        if values is not None:
            one.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
        model.buffers.append(one)
        return len(model.buffers) - 1

    def tensor(name: str, shape: list[int], values: np.ndarray | None = None):
        one = schema.TensorT()
        one.name, one.shape, one.type = name.encode(), shape, schema.TensorType.FLOAT32
        one.buffer = buffer(values) if values is not None else 0
        if any_batch and values is None:
            one.shapeSignature = [-1, *shape[1:]]
        graph.tensors.append(one)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options):
        one = schema.OperatorT()
        about = schema.OperatorCodeT()
        about.builtinCode = about.deprecatedBuiltinCode = code
        about.version = 1
        model.operatorCodes.append(about)
        one.opcodeIndex = len(model.operatorCodes) - 1
        one.inputs, one.outputs, one.builtinOptionsType, one.builtinOptions = inputs, [output], kind, options
        graph.operators.append(one)

    model.buffers, model.operatorCodes = [], []
    buffer(None)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.name = [], [], b"main"
    x = tensor("x", [batch, samples])
    weights = tensor("weights", [width, samples], matrix.T)
    two = tensor("two", [1], np.array([2.0]))
    inner, y = tensor("inner", [batch, width]), tensor("y", [batch, width])
    dense = schema.FullyConnectedOptionsT()
    dense.fusedActivationFunction = schema.ActivationFunctionType.RELU
    operator(schema.BuiltinOperator.FULLY_CONNECTED, [x, weights, -1], inner, schema.BuiltinOptions.FullyConnectedOptions, dense)  # fmt: skip
    operator(schema.BuiltinOperator.MUL, [inner, two], y, schema.BuiltinOptions.MulOptions, schema.MulOptionsT())
    graph.inputs, graph.outputs = [x], [y]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(builder.Output()))
    return path


def describe(folder: Path, text: str) -> Path:
    """`text` as the description of the models in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "teacher.toml").write_text(text, encoding="utf-8")
    return folder
