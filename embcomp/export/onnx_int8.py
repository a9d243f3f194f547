"""ONNX networks in 8-bit numbers, by onnxruntime's static quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embcomp.export.equalise import WEIGHED, equalise
from embcomp.export.int8 import Quantised, mixed_precision
from embcomp.export.quiet import no_advice

if TYPE_CHECKING:
    import onnx

QUANTISED = ("Conv", "Gemm", "Add", "Relu", "MaxPool")


def quantise(
    body: onnx.ModelProto,
    calibration: Sequence[np.ndarray],
    validation: Sequence[np.ndarray],
    decide: Callable[[np.ndarray], np.ndarray],
    expected: np.ndarray | None = None,
) -> Quantised:
    """Quantise statically: weights for each channel they write, activations for each tensor.

    Channels are equalised first (`embcomp.export.equalise`), unless they are already, as those of a network that was
    fine-tuned. What precedes the first convolution, the normalisation of
    log-mels, stays in float, and so do the layers that `mixed_precision` chooses.

    Parameters
    ----------
    body : ModelProto
        Batch norms folded; one input.
    calibration, validation : sequence of ndarray
        Inputs of one row each, (1, ...).
    decide : callable
        From the first output (n, width) to what must agree, (n, ...).
    expected : ndarray of shape (n, width), optional
        First outputs of the student for `validation`, where `body` is a copy of it that was equalised and fine-tuned.

    Returns
    -------
    Quantised
        Its model is a ModelProto in the QDQ form: pairs of quantisation and dequantisation nodes that a runtime fuses.
    """
    equalised = equalise(body, calibration) if expected is None else body
    expected = first_output(body, validation) if expected is None else expected

    def attempt(floats: list[str]) -> tuple[onnx.ModelProto, np.ndarray]:
        model = _static(equalised, calibration, floats)
        return model, first_output(model, validation)

    return mixed_precision(
        [node.name for node in body.graph.node if node.op_type in WEIGHED], attempt, expected, decide
    )


def _static(model: onnx.ModelProto, calibration: Sequence[np.ndarray], floats: list[str]) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = model.graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(calibration)

        def get_next(self):
            row = next(self.rows, None)
            return None if row is None else {name: row}

    nodes = list(model.graph.node)
    first = next(place for place, node in enumerate(nodes) if node.op_type == "Conv")
    excluded = {node.name for node in nodes[:first]} | set(floats)
    written = {output for node in nodes if node.name in floats for output in node.output}
    # The ReLU of a layer in float would only add a rounding of its own.
    excluded |= {node.name for node in nodes if node.op_type == "Relu" and node.input[0] in written}
    with tempfile.TemporaryDirectory(prefix="embcomp-int8-") as folder, no_advice():  # folded and inferred before
        path = Path(folder, "int8.onnx")
        # It changes the model it is given.
        quantize_static(
            type(model).FromString(model.SerializeToString()),
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(excluded),
        )
        return onnx.load(path)


def first_output(model: onnx.ModelProto, rows: Sequence[np.ndarray]) -> np.ndarray:
    """The first output (n, width) of a graph for inputs of one row each."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = ([session.get_outputs()[0].name], session.get_inputs()[0].name)
    return np.concatenate([session.run(names[0], {names[1]: row})[0] for row in rows])
