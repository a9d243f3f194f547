"""Students, teachers and compressors as ONNX."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from embcomp.export.base import Calibration, Format
from embcomp.export.equalise import WEIGHED
from embcomp.export.info import ModelInfo
from embcomp.export.onnx_frontend import logmel_graph
from embcomp.export.onnx_int8 import quantise
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

    def write(self, source: Source, path: Path, calibration: Calibration | None = None) -> ModelInfo:
        import onnx

        body = body_graph(source)
        info = replace(source.info, versions=source.info.versions | versions("onnx", "onnxruntime"))
        if calibration is not None:
            body, floats = _in_8_bits(body, source, calibration)
            info = replace(info, precision="int8", float_layers=floats)
        model = with_front_end(body, source)
        onnx.helper.set_model_props(model, info.to_properties())
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return info


def body_graph(source: Source) -> onnx.ModelProto:
    """The network: from ``logmel`` (n, n_mels, frames), or ``embedding`` (n, dim), to the outputs; batch norms folded."""
    from_audio = bool(source.info.sample_rate)
    dims = {0: torch.export.Dim("n")} | ({2: torch.export.Dim("frames")} if from_audio else {})
    with _quiet():
        program = torch.onnx.export(
            _Outputs(source.body),
            (source.example(),),
            input_names=["logmel" if from_audio else "embedding"],
            output_names=list(source.info.outputs),
            dynamic_shapes=(dims,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    forget_places(model)
    name_by_module(model)
    return model


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


def _in_8_bits(
    body: onnx.ModelProto, source: Source, calibration: Calibration
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The body quantised, and the layers of it that are not."""
    rows = [source.features(row) for row in calibration.rows]
    further = [source.features(row) for row in calibration.validation] or rows
    found = quantise(body, rows, further, source.decide)
    forget_places(found.model)
    return found.model, found.floats


class _Outputs(nn.Module):
    """One tensor where there is one output: a compressor's module gives no tuple."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor):
        return self.body(x)


def name_by_module(model: onnx.ModelProto) -> None:
    """Name weights, and the nodes that use them, as the network does: ``blocks.0.pointwise``."""
    taken = {name for node in model.graph.node for name in node.output}
    short = {
        tensor.name: tensor.name.removeprefix("body.").removeprefix("network.") for tensor in model.graph.initializer
    }
    names = {old: old if new in taken else new for old, new in short.items()}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    used: set[str] = set()
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type in WEIGHED:
            name = node.input[1].removesuffix(".weight")
            node.name = name if name not in used else f"{name} {len(used)}"
            used.add(node.name)


def forget_places(model: onnx.ModelProto) -> None:
    """Drop notes of the exporter, which name files of this machine and take a fifth of a small file, and inferred shapes."""
    model.doc_string = ""
    del model.graph.value_info[:]
    for graph in (model.graph, *(function for function in model.functions)):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for value in (*graph.value_info, *getattr(graph, "input", ()), *getattr(graph, "output", ())):
            if hasattr(value, "metadata_props"):
                value.doc_string = ""
                del value.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of packages that are not installed and of its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
