"""Networks in 8-bit numbers, and the layers that stay in float where those lose too much."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embcomp.export.equalise import WEIGHED, equalise

if TYPE_CHECKING:
    import onnx

QUANTISED = ("Conv", "Gemm", "Add", "Relu", "MaxPool")
AGREEMENT = 0.995  # on validation clips, below which further layers stay in float
MOST_FLOAT = 0.5  # of the layers with weights


@dataclass(frozen=True)
class Quantised:
    """A network in 8 bits.

    Attributes
    ----------
    model : ModelProto
        In the QDQ form: pairs of quantisation and dequantisation nodes that a runtime fuses.
    floats : tuple of str
        Layers that stay in float.
    agreement : float
        Share of the validation clips with the same likeliest class as in float.
    """

    model: onnx.ModelProto
    floats: tuple[str, ...]
    agreement: float


def quantise(
    body: onnx.ModelProto, calibration: Sequence[np.ndarray], validation: Sequence[np.ndarray], classes_of
) -> Quantised:
    """Quantise statically: weights per channel they write, activations per tensor.

    Channels are equalised first (`embcomp.export.equalise`). The first convolution and the last linear layer stay in
    float: they have few weights, most of the error, and on small networks the first one is
    slower in 8 bits. So does everything before the first convolution, which normalises log-mels.
    Where the classes of too many validation clips still change, further layers are kept in float, those first whose
    return to float brings the outputs on the validation clips closest to what they were.

    Parameters
    ----------
    body : ModelProto
        Batch norms folded; one input.
    calibration, validation : sequence of ndarray
        Inputs of one row each, (1, ...).
    classes_of : callable
        From the first output (n, width) to what must agree, (n, ...).

    Returns
    -------
    Quantised
    """
    equalised = equalise(body, calibration)
    layers = [node.name for node in body.graph.node if node.op_type in WEIGHED]
    expected = _first_output(body, validation)
    floats = list(dict.fromkeys([layers[0], layers[-1]]))

    def attempt(names: list[str]) -> tuple[Quantised, float]:
        model = _static(equalised, calibration, names)
        found = _first_output(model, validation)
        same = classes_of(found) == classes_of(expected)
        agreement = float(same.reshape(len(same), -1).all(axis=1).mean())
        return Quantised(model, tuple(names), agreement), float(np.abs(found - expected).mean())

    best, _ = attempt(floats)
    if best.agreement < AGREEMENT:
        rest = [name for name in layers if name not in floats]
        errors = {name: attempt([*floats, name])[1] for name in rest}
        for name in sorted(rest, key=errors.get)[: max(0, int(MOST_FLOAT * len(layers)) - len(floats))]:
            floats.append(name)
            found, _ = attempt(floats)
            if found.agreement > best.agreement:
                best = found
            if found.agreement >= AGREEMENT:
                break
    return best


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
    with tempfile.TemporaryDirectory(prefix="embcomp-int8-") as folder, _quiet():
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


def _first_output(model: onnx.ModelProto, rows: Sequence[np.ndarray]) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = ([session.get_outputs()[0].name], session.get_inputs()[0].name)
    return np.concatenate([session.run(names[0], {names[1]: row})[0] for row in rows])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence advice that does not apply: batch norms are folded and shapes inferred before."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
