"""The front end as matrix products, against `LogMel`."""

from __future__ import annotations

import pytest
import torch
from export.test_onnx import FRONT_ENDS, LENGTHS, waves

from embcomp.audio.logmel import LogMel
from embcomp.export.frontend import MatrixLogMel


@pytest.mark.parametrize("settings", FRONT_ENDS.values(), ids=FRONT_ENDS)
@pytest.mark.parametrize("samples", LENGTHS)
def test_a_transform_in_two_steps_is_the_log_mel(settings, samples):
    logmel = LogMel(**settings)
    batch = torch.from_numpy(waves(samples=samples))
    torch.testing.assert_close(MatrixLogMel(logmel, samples)(batch), logmel(batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n_fft", [16, 17, 60, 512, 1024])
def test_any_size_of_frame(n_fft):
    logmel = LogMel(n_fft=n_fft, win_length=n_fft - 1, hop_length=7, n_mels=4)
    batch = torch.from_numpy(waves(samples=500))
    torch.testing.assert_close(MatrixLogMel(logmel, 500)(batch), logmel(batch), atol=1e-4, rtol=0)


def test_its_constants_are_small():
    module = MatrixLogMel(LogMel(), 16_000)
    numbers = {name: tensor.numel() for name, tensor in module.named_buffers()}
    filters = numbers.pop("filters")
    assert sum(numbers.values()) < 4000 and filters < 1.1 * LogMel().filters.numel()
