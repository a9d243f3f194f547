"""Students as LiteRT (TensorFlow Lite) files."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.export.base import Calibration, Format
from embcomp.export.equalised_network import equalised_network
from embcomp.export.frontend import MatrixLogMel
from embcomp.export.info import ModelInfo
from embcomp.export.source import Source, versions
from embcomp.export.tflite_int8 import quantise, shorten_names

PCM = 32_768.0


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
        graph = _Row(source, body)
        info = replace(
            source.info,
            fixed_samples=graph.length,
            versions=source.info.versions | versions("litert-torch", "ai-edge-litert"),
        )
        with _quiet():
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


class _Row(nn.Module):
    """A row of zero-padded audio or log-mels, and its length, to the outputs."""

    def __init__(self, source: Source, body: nn.Module):
        super().__init__()
        info = source.info
        samples = round(info.window * info.sample_rate)
        self.given, self.outputs, self.samples = info.input, info.outputs, info.samples
        self.hop_length, self.body = source.front.hop_length, body
        self.n_mels = source.front.n_mels
        self.front = None if source.logmel is None else MatrixLogMel(source.logmel, samples)
        self.length = samples if self.front is not None else int(source.front.frames(samples))

    def example(self) -> dict[str, Tensor]:
        """Inputs by name."""
        if self.front is None:
            row = torch.zeros(1, self.n_mels, self.length)
        else:
            row = torch.zeros(1, self.length, dtype=torch.int16 if self.samples == "int16" else torch.float32)
        return {self.given: row, "length": torch.tensor([self.length], dtype=torch.int32)}

    def row(self, source: Source, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Inputs by name for one clip (samples,)."""
        values = waveform if self.front is not None else source.features(waveform)[0]
        if self.samples == "int16":
            values = np.clip(np.round(values * PCM), -PCM, PCM - 1).astype(np.int16)
        padded = np.zeros((1, *values.shape[:-1], self.length), dtype=values.dtype)
        padded[..., : values.shape[-1]] = values
        return {self.given: padded, "length": np.array([values.shape[-1]], dtype=np.int32)}

    def forward(
        self, length: Tensor, waveform: Tensor | None = None, logmel: Tensor | None = None
    ) -> dict[str, Tensor]:
        if waveform is not None:
            logmel = self.front(waveform.float() / PCM if self.samples == "int16" else waveform)
            length = torch.div(length, self.hop_length, rounding_mode="trunc") + 1
        return dict(zip(self.outputs, self.body(logmel, length)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the converter prints of its progress."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
