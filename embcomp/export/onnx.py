"""Students, teachers and compressors as ONNX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embcomp.export.base import Calibration, Format
from embcomp.export.equalised_network import equalised_network
from embcomp.export.finetune import finetune
from embcomp.export.info import ModelInfo
from embcomp.export.int8 import Quantised, finetune_notes
from embcomp.export.onnx_body import body_graph, forget_places
from embcomp.export.onnx_frontend import logmel_graph
from embcomp.export.onnx_int8 import first_output, quantise
from embcomp.export.source import Source, versions

if TYPE_CHECKING:
    import onnx


class OnnxFormat(Format):
    """ONNX: batches of any size and clips of any length."""

    name = "onnx"
    suffix = ".onnx"
    summary = "ONNX, for onnxruntime on computers, phones and in browsers"
    extra = "onnx"
    modules = ("onnx", "onnxscript", "onnxruntime")
    sources = ("classifier", "teacher", "compressor")
    rows = True

    def write(self, source: Source, path: Path, calibration: Calibration | None = None) -> ModelInfo:
        import onnx

        body = body_graph(source)
        info = replace(source.info, versions=source.info.versions | versions("onnx", "onnxruntime"))
        if calibration is not None:
            found, notes = _in_8_bits(body, source, calibration)
            body = found.model
            forget_places(body)
            info = replace(info, precision="int8", float_layers=found.floats, about=info.about | notes)
        model = with_front_end(body, source)
        onnx.helper.set_model_props(model, info.to_properties())
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return info


def with_front_end(body: onnx.ModelProto, source: Source) -> onnx.ModelProto:
    """`body` behind the log-mel front end, where the source has one."""
    from onnx import compose

    if source.logmel is None:
        return body
    opset = next(item.version for item in body.opset_import if item.domain == "")
    front = logmel_graph(source.logmel, source.info.samples, opset, body.ir_version)
    front = compose.add_prefix(front, "front/", rename_inputs=False, rename_outputs=False)
    body = compose.add_prefix(body, "body/", rename_inputs=False, rename_outputs=False)
    model = compose.merge_models(front, body, io_map=[("logmel", "logmel")], name="embcomp")
    for output in model.graph.output:  # both parts call their batch n
        output.type.tensor_type.shape.dim[0].dim_param = "n"
    return model


def _in_8_bits(body: onnx.ModelProto, source: Source, calibration: Calibration) -> tuple[Quantised, dict]:
    """The body quantised, fine-tuned if that brings it closer on the validation clips, and notes on whether it did."""
    rows = [source.features(row) for row in calibration.rows]
    further = [source.features(row) for row in calibration.validation] or rows
    found = quantise(body, rows, further, source.decide)
    if not calibration.training:
        return found, {}
    masked = equalised_network(source, rows, body)
    masked.network = finetune(
        masked.network,
        [source.features(row)[0] for row in calibration.training],
        [row[0] for row in further],
        floats=found.floats[:2],  # the first and the last layer; the others are to do without
        seed=calibration.seed,
    ).network
    expected = first_output(body, further)
    tuned = quantise(body_graph(source, masked), rows, further, source.decide, expected)
    return max(found, tuned, key=lambda one: one.rank), finetune_notes(found, tuned)
