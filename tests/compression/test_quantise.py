"""Quantised targets: invertible, clipped instead of wrapped, and honest about the loss."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.compression import Quantiser
from embcomp.errors import ArtifactError, ConfigError, DataError

DTYPES = ["float16", "int8", "binary"]


@pytest.fixture
def codes():
    return (np.random.default_rng(0).normal(size=(500, 21)) * np.linspace(0.01, 30, 21) + 5).astype(np.float32)


@pytest.mark.parametrize(("dtype", "error", "size"), [("float16", 1e-4, 42), ("int8", 2e-3, 21), ("binary", 0.5, 3)])
def test_loss_and_size(codes, dtype, error, size):
    quantiser = Quantiser(dtype).fit(codes)
    loss = quantiser.loss(codes)
    assert 0 < loss.relative_error < error
    assert loss.cosine > 0.7
    assert loss.bytes_per_row == quantiser.transform(codes).nbytes / len(codes) == size


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_is_that_of_the_rows_that_come_back(codes, dtype):
    quantiser = Quantiser(dtype).fit(codes)
    back = quantiser.inverse_transform(quantiser.transform(codes))
    expected = ((codes - back) ** 2).sum(dtype=float) / ((codes - codes.mean(axis=0)) ** 2).sum(dtype=float)
    assert quantiser.loss(codes).relative_error == pytest.approx(expected, rel=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.floats(-1e4, 1e4), st.floats(1e-3, 1e3))
def test_int8_errs_by_half_a_step_at_most(seed, offset, spread):
    Z = (np.random.default_rng(seed).normal(size=(40, 3)) * spread + offset).astype(np.float32)
    quantiser = Quantiser("int8").fit(Z)
    step = (quantiser.high_ - quantiser.low_) / 255
    error = np.abs(quantiser.inverse_transform(quantiser.transform(Z)) - Z)
    assert (error <= step * 0.501 + 1e-6 * np.abs(Z).max()).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_dimensions_come_back_exactly(dtype):
    Z = np.tile(np.float32([0.0, 1.5, -7.25]), (10, 1))
    quantiser = Quantiser(dtype).fit(Z)
    np.testing.assert_array_equal(quantiser.inverse_transform(quantiser.transform(Z)), Z)
    assert quantiser.loss(Z).relative_error == 0


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_values_beyond_the_range_are_clipped_not_wrapped(codes, dtype):
    quantiser = Quantiser(dtype).fit(codes)
    far = np.full((1, 21), 1e9, np.float32)
    high, low = (quantiser.inverse_transform(quantiser.transform(sign * far)) for sign in (1, -1))
    assert (high >= codes.max(axis=0) - 1e-3 * np.abs(codes).max(axis=0)).all()
    assert (low <= codes.min(axis=0) + 1e-3 * np.abs(codes).max(axis=0)).all()
    assert quantiser.loss(far).clipped == 1


def test_the_share_that_is_clipped_is_that_beyond_what_the_type_holds(codes):
    wider = 2 * codes
    outside = (wider < codes.min(axis=0)) | (wider > codes.max(axis=0))
    assert Quantiser("int8").fit(codes).loss(wider).clipped == pytest.approx(outside.mean()) and outside.any()
    assert Quantiser("float16").fit(codes).loss(wider).clipped == 0
    wider[::5] = 1e6
    assert Quantiser("float16").fit(codes).loss(wider).clipped == pytest.approx(0.2)
    assert Quantiser("binary").fit(codes).loss(wider).clipped == 0


def test_clipping_outliers_spends_the_steps_where_the_values_are(codes):
    codes[0] = 1e4
    inner = codes[1:]
    assert (
        Quantiser(clip=0.01).fit(codes).loss(inner).relative_error < Quantiser().fit(codes).loss(inner).relative_error
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_on_disk(codes, tmp_path, dtype):
    quantiser = Quantiser(dtype, clip=0.01).fit(codes)
    quantiser.save(tmp_path / "q")
    loaded = Quantiser.load(tmp_path / "q")
    np.testing.assert_array_equal(loaded.transform(codes), quantiser.transform(codes))
    np.testing.assert_array_equal(
        loaded.inverse_transform(loaded.transform(codes)), quantiser.inverse_transform(quantiser.transform(codes))
    )
    (tmp_path / "q" / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(ArtifactError, match="damaged"):
        Quantiser.load(tmp_path / "q")


def test_nan_is_refused_by_row(codes):
    codes[4, 1] = np.nan
    with pytest.raises(DataError, match="rows 4"):
        Quantiser().fit(codes)


def test_clipping_leaves_out_a_share_at_each_end(codes):
    quantiser = Quantiser(clip=0.1).fit(codes)
    np.testing.assert_allclose([quantiser.low_, quantiser.high_], np.quantile(codes, [0.1, 0.9], axis=0), rtol=1e-6)
    assert quantiser.loss(codes).clipped == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_zeros_have_no_direction_and_rows_that_never_vary_no_spread(dtype):
    half = np.repeat(np.float32([[0, 0], [3, 4]]), 4, axis=0)
    loss = Quantiser(dtype).fit(half).loss(half)
    assert (loss.cosine, loss.relative_error, loss.clipped) == pytest.approx((1, 0, 0), abs=1e-6)
    assert Quantiser(dtype).fit(half).loss(0 * half).cosine == 1
    elsewhere = np.full((3, 2), 1 / 3, np.float32)  # constant, and nothing that a code of these comes back as
    assert Quantiser(dtype).fit(half).loss(elsewhere).relative_error == float("inf")


@pytest.mark.parametrize(
    ("dtype", "wrong"),
    [
        ("int8", np.zeros((2, 20), np.int8)),
        ("int8", np.zeros((2, 22), np.int8)),
        ("int8", np.zeros((2, 21), np.uint8)),
        ("int8", np.zeros(21, np.int8)),
        ("float16", np.zeros((2, 21), np.float32)),
        ("binary", np.zeros((2, 2), np.uint8)),
        ("binary", np.zeros((2, 4), np.uint8)),
        ("binary", np.zeros((2, 3), np.int8)),
    ],
)
def test_codes_of_another_type_or_width_are_refused(codes, dtype, wrong):
    width = 3 if dtype == "binary" else 21
    kind = {"binary": "uint8"}.get(dtype, dtype)
    with pytest.raises(DataError, match=rf"expected {kind} codes of shape \(n, {width}\), got {wrong.dtype} of shape"):
        Quantiser(dtype).fit(codes).inverse_transform(wrong)
    for other in (20, 22):
        with pytest.raises(DataError, match=f"targets have {other} dimensions, the quantiser was fitted on 21"):
            Quantiser(dtype).fit(codes).transform(np.zeros((2, other)))


@pytest.mark.parametrize("changed", [{"dtype": None}, {"clip": "x"}, {"n_components": None}, {"n_components": -1}])
def test_a_damaged_description_of_a_quantiser_is_refused(codes, tmp_path, changed):
    Quantiser().fit(codes).save(tmp_path / "q")
    config = json.loads((tmp_path / "q" / "config.json").read_text()) | changed
    (tmp_path / "q" / "config.json").write_text(json.dumps(config))
    with pytest.raises((ArtifactError, ConfigError), match=r"damaged|dtype"):
        Quantiser.load(tmp_path / "q")
