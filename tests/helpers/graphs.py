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


class TfliteGraph:
    """A TensorFlow Lite graph in the making; tensors and operators are named by their numbers."""

    def __init__(self):
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = 3, "test"
        self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [schema.BufferT()], [], [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.name = [], [], b"main"

    def tensor(self, name, shape, values=None, *, any_batch=False, dtype="FLOAT32", steps=None):
        one = self.schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name.encode(), shape, getattr(self.schema.TensorType, dtype), 0
        if values is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            one.buffer = len(self.model.buffers) - 1
        elif any_batch:
            one.shapeSignature = [-1, *shape[1:]]
        if steps is not None:
            one.quantization = self.schema.QuantizationParametersT()
            one.quantization.scale, one.quantization.zeroPoint = [steps[0]], [steps[1]]
        self.graph.tensors.append(one)
        return len(self.graph.tensors) - 1

    def operator(self, name, inputs, output, options=None):
        one, about = self.schema.OperatorT(), self.schema.OperatorCodeT()
        about.builtinCode = about.deprecatedBuiltinCode = getattr(self.schema.BuiltinOperator, name)
        about.version = 1
        self.model.operatorCodes.append(about)
        one.opcodeIndex, one.inputs, one.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            one.builtinOptionsType, one.builtinOptions = getattr(self.schema.BuiltinOptions, kind), options
        self.graph.operators.append(one)

    def save(self, path: Path, inputs, outputs) -> Path:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(builder.Output()))
        return path


def tflite_matrix(path: Path, matrix: np.ndarray, *, batch: int = 1, any_batch: bool = False) -> Path:
    """relu(x (batch, samples) @ matrix (samples, width)), then doubled; the tensor before the doubling is ``inner``."""
    samples, width = matrix.shape
    made = TfliteGraph()
    x = made.tensor("x", [batch, samples], any_batch=any_batch)
    weights = made.tensor("weights", [width, samples], matrix.T)
    two = made.tensor("two", [1], np.array([2.0]))
    inner, y = (made.tensor(name, [batch, width], any_batch=any_batch) for name in ("inner", "y"))
    dense = made.schema.FullyConnectedOptionsT()
    dense.fusedActivationFunction = made.schema.ActivationFunctionType.RELU
    made.operator("FULLY_CONNECTED", [x, weights, -1], inner, dense)
    made.operator("MUL", [inner, two], y, made.schema.MulOptionsT())
    return made.save(path, [x], [y])


def tflite_quantised(path: Path, samples: int, *, taken=(0.01, 5), given=(0.02, -7)) -> Path:
    """x in 8 bits to y in 8 bits, each with its own (step, zero): the identity but for rounding."""
    made = TfliteGraph()
    x = made.tensor("x", [1, samples], dtype="INT8", steps=taken)
    middle = made.tensor("middle", [1, samples])
    y = made.tensor("y", [1, samples], dtype="INT8", steps=given)
    made.operator("DEQUANTIZE", [x], middle, made.schema.DequantizeOptionsT())
    made.operator("QUANTIZE", [middle], y, made.schema.QuantizeOptionsT())
    return made.save(path, [x], [y])


def describe(folder: Path, text: str) -> Path:
    """`text` as the description of the models in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "teacher.toml").write_text(text, encoding="utf-8")
    return folder
