"""The network of a source as an ONNX graph, without its front end."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from embcomp.export.equalise import WEIGHED
from embcomp.export.source import Source

if TYPE_CHECKING:
    import onnx


def body_graph(source: Source, body: nn.Module | None = None) -> onnx.ModelProto:
    """The network: from ``logmel`` (n, n_mels, frames), or what the source takes, to the outputs; batch norms folded.

    Parameters
    ----------
    source : Source
    body : nn.Module, optional
        Instead of ``source.body``, a changed copy of it.
    """
    from_audio = bool(source.info.sample_rate)
    # The number of columns, or the size of images, is that of the student.
    dims = {0: torch.export.Dim("n")} | ({2: torch.export.Dim("frames")} if from_audio else {})
    with _quiet():
        program = torch.onnx.export(
            _Outputs(source.body if body is None else body),
            (source.example(),),
            input_names=["logmel" if from_audio else source.info.input],
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
