"""A student as a graph of one row of fixed length, for runtimes that plan their memory beforehand."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.export.frontend import MatrixLogMel
from embcomp.export.source import Source

PCM = 32_768.0


class Row(nn.Module):
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
