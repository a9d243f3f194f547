"""Students as ExecuTorch programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from embcomp.export.base import Calibration, Format
from embcomp.export.info import ModelInfo
from embcomp.export.quiet import quiet
from embcomp.export.row_graph import Row
from embcomp.export.source import Source, versions
from embcomp.storage.files import file_hash


class ExecutorchFormat(Format):
    """ExecuTorch, with the XNNPACK backend where it has the operations: rows of one length, one at a time."""

    name = "executorch"
    suffix = ".pte"
    summary = "ExecuTorch, for phones and small devices; rows of one length, in float"
    extra = "executorch"
    modules = ("executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch.runtime")
    int8 = False
    finetunes = False

    def write(self, source: Source, path: Path, calibration: Calibration | None = None) -> ModelInfo:
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            graph = Row(source, source.masked_body)
            given = graph.example()
            program = torch.export.export(_Ordered(graph).eval(), (given[graph.given], given["length"]))
            edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            path.write_bytes(edge.to_executorch().buffer)
        return replace(
            source.info,
            fixed_samples=graph.length,
            about=source.info.about | {"content": file_hash(path)},
            versions=source.info.versions | versions("executorch"),
        )


class _Ordered(nn.Module):
    """Inputs and outputs of a row by their places: a program has no names for them."""

    def __init__(self, row: Row):
        super().__init__()
        self.row = row

    def forward(self, given: Tensor, length: Tensor) -> tuple[Tensor, ...]:
        found = self.row(length, **{self.row.given: given})
        return tuple(found[name] for name in self.row.outputs)
