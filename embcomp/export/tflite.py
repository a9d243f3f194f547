"""Students as LiteRT (TensorFlow Lite) files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from embcomp.export.base import Calibration, Format
from embcomp.export.equalised_network import equalised_network
from embcomp.export.info import ModelInfo
from embcomp.export.quiet import quiet
from embcomp.export.row_graph import Row
from embcomp.export.source import Source, versions
from embcomp.export.tflite_int8 import quantise, shorten_names


class TfliteFormat(Format):
    """LiteRT: one clip at a time, in a row of one length; a second input says how much of the row the clip fills."""

    name = "tflite"
    suffix = ".tflite"
    summary = "LiteRT (TensorFlow Lite), for phones and small devices; rows of one length"
    extra = "litert"
    modules = ("litert_torch", "ai_edge_litert", "ai_edge_quantizer", "onnx", "onnxscript", "onnxruntime")
    sources = ("classifier",)
    finetunes = False

    def write(self, source: Source, path: Path, calibration: Calibration | None = None) -> ModelInfo:
        body = source.masked_body
        if calibration is not None:
            body = equalised_network(source, [source.features(row) for row in calibration.rows])
        graph = Row(source, body)
        info = replace(
            source.info,
            fixed_samples=graph.length,
            versions=source.info.versions | versions("litert-torch", "ai-edge-litert"),
        )
        with quiet():
            import litert_torch

            model = litert_torch.convert(graph.eval(), sample_kwargs=graph.example())
            model.export(os.fspath(path))
        content = path.read_bytes()
        if calibration is not None:
            rows = [graph.row(source, row) for row in calibration.rows]
            further = [graph.row(source, row) for row in calibration.validation] or rows
            found = quantise(path, rows, further, source.info.outputs[0], source.decide)
            content, info = found.model, replace(info, precision="int8", float_layers=found.floats)
        path.write_bytes(shorten_names(content))
        return info
