"""Another microphone: what the changes change, and what they leave."""

from __future__ import annotations

import math

import pytest
import torch

from embcomp.audio.augment import augment
from embcomp.audio.channel import equalise, mix_styles
from embcomp.config import TrainingConfig
from embcomp.students import InputNorm, frame_mask

LENGTHS = torch.tensor([20, 12, 7, 20])


def clips():
    return torch.randn(4, 16, 20, generator=torch.Generator().manual_seed(3))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_equaliser_is_a_smooth_curve_over_the_bands_within_its_limit():
    curve = equalise(torch.zeros(500, 64, 3), 10.0, generator()) * 10 / math.log(10)
    assert torch.equal(curve[..., :1].expand_as(curve), curve)  # the same at every moment
    assert curve.abs().max() <= 10 + 1e-4 and curve.abs().max() > 9
    second = curve[:, 2:, 0] - 2 * curve[:, 1:-1, 0] + curve[:, :-2, 0]
    assert (second.abs() > 1e-3).sum(1).max() <= 8  # straight but for four inner points
    assert curve[:, :, 0].std(0).min() > 3  # every band of every clip is drawn


def test_a_norm_that_subtracts_each_band_undoes_an_equaliser():
    norm, mask = InputNorm("band", 16), frame_mask(LENGTHS, 20)
    torch.testing.assert_close(
        norm(equalise(clips(), 10.0, generator()), mask), norm(clips(), mask), atol=1e-4, rtol=1e-3
    )


def test_mixed_styles_keep_the_shape_of_each_band_and_take_statistics_between_the_two():
    x = clips()
    found = mix_styles(x, LENGTHS, 1.0, generator())
    for row, length in enumerate(LENGTHS.tolist()):
        before, after = x[row, :, :length], found[row, :, :length]
        shape = [
            (part - part.mean(1, keepdim=True)) / part.std(1, correction=0, keepdim=True) for part in (before, after)
        ]
        torch.testing.assert_close(*shape, atol=1e-3, rtol=1e-3)
        assert torch.equal(found[row, :, length:], x[row, :, length:])
        mean = torch.stack([x[other, :, : LENGTHS[other]].mean(1) for other in range(4)])
        assert (after.mean(1) <= mean.amax(0) + 1e-4).all() and (after.mean(1) >= mean.amin(0) - 1e-4).all()
    assert not torch.allclose(found, x)
    torch.testing.assert_close(mix_styles(x, LENGTHS, 0.0, generator()), x)


@pytest.mark.parametrize("settings", [{"equaliser": 6.0}, {"mixstyle": 0.5}])
def test_augmentation_uses_them_only_if_asked_and_by_its_seed(settings):
    quiet = {"gain": 0.0, "roll": 0.0, "freq_mask": 0, "time_mask": 0.0, "equaliser": 0.0}
    plain, changed = TrainingConfig(**quiet), TrainingConfig(**{**quiet, **settings})
    assert torch.equal(augment(clips(), LENGTHS, plain, generator()), clips())
    first = augment(clips(), LENGTHS, changed, generator())
    assert not torch.allclose(first, clips())
    assert torch.equal(first, augment(clips(), LENGTHS, changed, generator()))
    assert not torch.equal(first, augment(clips(), LENGTHS, changed, generator(1)))
