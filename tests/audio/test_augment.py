"""Augmentations: what they change, what they must not, and by how much."""

from __future__ import annotations

import math

import pytest
import torch

from embcomp.audio.augment import augment
from embcomp.config import TrainingConfig

LENGTHS = torch.tensor([50, 31, 8, 1])
NOTHING = {"equaliser": 0.0, "freq_mask": 0, "time_mask": 0.0, "roll": 0.0, "gain": 0.0}
SETTINGS = {"gain": 6.0, "roll": 0.3, "freq_mask": 8, "time_mask": 0.3}


def features(bands=20, frames=50):
    """Random log power, as quiet as real clips are, and zeros where a clip has ended."""
    values = torch.randn(len(LENGTHS), bands, frames, generator=torch.Generator().manual_seed(0)) - 8.0
    return values * padding_mask(frames, invert=True)


def padding_mask(frames=50, invert=False):
    inside = torch.arange(frames) < LENGTHS.unsqueeze(1)
    return (inside if invert else ~inside).unsqueeze(1)


def apply(values, seed=0, **changes):
    config = TrainingConfig(**{**NOTHING, **changes})
    return augment(values, LENGTHS, config, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
def test_no_amount_of_anything_is_the_identity(seed):
    assert torch.equal(apply(features(), seed), features())


@pytest.mark.parametrize("name", SETTINGS)
def test_the_input_is_not_written_to_and_something_changes(name):
    values = features()
    changed = apply(values, **{name: SETTINGS[name]})
    assert torch.equal(values, features())
    assert not torch.equal(changed, values)
    assert changed.shape == values.shape and changed.dtype == values.dtype


@pytest.mark.parametrize("changes", [*({name: value} for name, value in SETTINGS.items()), SETTINGS], ids=str)
def test_one_generator_gives_one_result(changes):
    first, again, other = (apply(features(), seed, **changes) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", range(5))
def test_gain_shifts_each_clip_by_one_number_of_decibels(seed):
    shift = (apply(features(), seed, gain=6.0) - features()) * padding_mask(invert=True)
    decibel = 10 / math.log(10) * shift
    inside = padding_mask(invert=True).expand_as(shift)
    for clip in range(len(LENGTHS)):
        of_clip = decibel[clip][inside[clip]]
        assert of_clip.std(correction=0) < 1e-4
        assert of_clip.abs().max() <= 6.0001
    assert len({round(decibel[clip, 0, 0].item(), 3) for clip in range(len(LENGTHS))}) == len(LENGTHS)


def test_gains_fill_their_range_evenly():
    shifts = torch.cat([(apply(features(), seed, gain=10.0) - features())[:, 0, 0] for seed in range(200)])
    decibel = shifts * 10 / math.log(10)
    assert decibel.min() < -9.5 and decibel.max() > 9.5
    assert decibel.mean().abs() < 1.0 and (decibel.abs() < 5).float().mean() == pytest.approx(0.5, abs=0.06)


def test_a_gain_is_what_a_louder_recording_would_have_given():
    from embcomp.audio.logmel import LogMel

    wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    module = LogMel(n_mels=20)
    louder = module(wave * 10 ** (4.0 / 20)) - module(wave)
    torch.testing.assert_close(louder * 10 / math.log(10), torch.full_like(louder, 4.0), atol=0.02, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_roll_turns_the_valid_frames_round_and_leaves_the_padding(seed):
    values = features()
    turned = apply(values, seed, roll=0.5)
    for clip, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(turned[clip, :, length:], values[clip, :, length:])
        shifts = [
            shift
            for shift in range(length)
            if torch.equal(values[clip, :, :length].roll(shift, 1), turned[clip, :, :length])
        ]
        assert len(shifts) == 1


def test_roll_goes_no_further_than_its_share():
    values = features()
    seen = set()
    for seed in range(100):
        turned = apply(values, seed, roll=0.1)
        at = int((turned[0, 0] == values[0, 0, 0]).nonzero())
        seen.add(at if at < 25 else at - 50)
    assert seen == set(range(-5, 6))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("name", "amount", "axis"), [("freq_mask", 6, 0), ("time_mask", 0.3, 1)])
def test_masks_hide_whole_bands_or_frames_and_no_more_than_asked(name, amount, axis, seed):
    values = features()
    hidden = apply(values, seed, **{name: amount}) != values
    for clip, length in enumerate(LENGTHS.tolist()):
        inside = hidden[clip, :, :length]
        lines = inside.all(dim=1 - axis)
        assert torch.equal(inside, lines.unsqueeze(1 - axis).expand_as(inside))
        assert lines.sum() <= 2 * (amount if name == "freq_mask" else amount * length)
        assert not hidden[clip, :, length:].any()


@pytest.mark.parametrize(("name", "amount"), [("freq_mask", 6), ("time_mask", 0.3)])
def test_what_is_hidden_holds_the_mean_of_the_clip_without_its_padding(name, amount):
    values = features()
    changed = apply(values, 3, **{name: amount})
    hidden = changed != values
    assert hidden[1].any()
    for clip, length in enumerate(LENGTHS.tolist()):
        filled = changed[clip][hidden[clip]]
        torch.testing.assert_close(filled, values[clip, :, :length].mean().expand_as(filled))


def test_padding_does_not_change_what_becomes_of_a_clip():
    wide = features()
    wide[1:] = features()[1:]
    wide[0, :, 31:] = 0
    lengths = torch.tensor([31, 31, 8, 1])
    config = TrainingConfig(**SETTINGS)
    narrow = augment(wide[..., :31], lengths, config, torch.Generator().manual_seed(4))
    padded = augment(wide, lengths, config, torch.Generator().manual_seed(4))
    inside = torch.arange(31) < lengths.unsqueeze(1)
    torch.testing.assert_close(padded[..., :31] * inside.unsqueeze(1), narrow * inside.unsqueeze(1))


def test_masks_that_ask_for_more_bands_than_there_are_leave_some():
    values = features(bands=6)
    for seed in range(20):
        assert (apply(values, seed, freq_mask=100)[0] == values[0]).any()
