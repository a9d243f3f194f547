"""Augmentation and input normalisation by the compiled kernels are those of torch's operators."""

from __future__ import annotations

import pytest
import torch

from embcomp.audio.augment import augment, changed
from embcomp.config import TrainingConfig
from embcomp.students import compiled, inputs
from embcomp.students.input_norm import InputNorm
from embcomp.students.output import frame_mask
from embcomp.training.augment import augmented

pytestmark = pytest.mark.skipif(compiled.kernels() is None, reason=f"no kernels: {compiled.why_not()}")


def clips(bands=40, frames=51):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, frames + 1, (12,), generator=generator)
    lengths[0] = frames
    return 3 * torch.randn(12, bands, frames, generator=generator) - 8, lengths


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gain": 0.0},
        {"equaliser": 0.0},
        {"roll": 0.0, "time_mask": 0.0},
        {"roll": 0.5, "freq_mask": 100, "time_mask": 0.5},
        {"mixstyle": 0.5},
        {"gain": 0.0, "equaliser": 0.0, "roll": 0.0, "freq_mask": 0, "time_mask": 0.0},
    ],
    ids=str,
)
def test_augmentation_is_the_same_from_the_same_draws(settings, threads):
    config, (features, lengths), before = TrainingConfig(**settings), clips(), torch.get_num_threads()
    kept = features.clone()
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    torch.set_num_threads(threads)
    try:
        found = augmented(features, lengths, config, generators[0])
    finally:
        torch.set_num_threads(before)
    expected = augment(features, lengths, config, generators[1], change=changed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(features, kept)
    assert torch.equal(*(generator.get_state() for generator in generators))


@pytest.mark.parametrize(("bands", "frames"), [(40, 121), (3, 17), (64, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_a_clip_is_normalised_as_by_the_layer(bands, frames, masked):
    features, lengths = clips(bands, frames)
    features[3] = 2.0  # silence
    mask = frame_mask(lengths, frames) if masked else None
    norm = InputNorm("clip", bands)
    torch.testing.assert_close(norm.train()(features, mask), norm.eval()(features, mask), atol=2e-5, rtol=1e-5)


def test_operators_do_what_the_kernels_cannot():
    features, _ = clips()
    assert inputs.fast(features)
    assert not inputs.fast(features.double())
    assert not inputs.fast(features.clone().requires_grad_())
    assert not inputs.fast(features.unsqueeze(1))  # images
    images = torch.randn(2, 3, 8, 8)
    assert augmented(images, torch.full((2,), 8), TrainingConfig(), torch.Generator()).shape == images.shape
