from __future__ import annotations

import numpy as np
import pytest

from embcomp.teachers.pooling import GROUPS, NAMES, parts, pool
from embcomp.teachers.windows import padded, pieces, windows


@pytest.mark.parametrize("name", NAMES)
def test_one_row_pools_to_itself_and_equal_rows_to_one_of_them(rng, name):
    row = rng.normal(size=(1, 5)).astype(np.float32)
    still = {"std": [np.zeros(5)], "statistics": [row[0], np.zeros(5)]}.get(name, [row[0]])
    for rows in (row, np.repeat(row, 4, axis=0)):
        np.testing.assert_allclose(pool(rows, [name]), np.concatenate(still), atol=1e-6)


def test_poolings_follow_numpy_in_the_order_asked(rng):
    rows = rng.normal(size=(7, 3)).astype(np.float32)
    expected = np.concatenate([rows.max(0), rows.mean(0), rows.std(0), rows.min(0), np.median(rows, 0)])
    np.testing.assert_allclose(pool(rows, ["max", "statistics", "min", "median"]), expected, rtol=1e-6)
    assert pool(rows, ["first", "last"]).tolist() == [*rows[0].tolist(), *rows[-1].tolist()]
    assert parts(["statistics"]) == GROUPS["statistics"]


def test_shares_of_time_are_pooled_one_after_the_other(rng):
    rows = rng.normal(size=(6, 2))
    found = pool(rows, ["mean"], 3).reshape(3, 2)
    np.testing.assert_allclose(found, rows.reshape(3, 2, 2).mean(1), rtol=1e-6)
    # More shares than rows: a row belongs to every share that it reaches into.
    np.testing.assert_allclose(pool(rows[:1], ["mean"], 3), np.tile(rows[0], 3), rtol=1e-6)


@pytest.mark.parametrize("tail", ["drop", "pad"])
@pytest.mark.parametrize("time", [1, 4, 5, 9, 10, 23])
def test_windows_cover_what_they_promise(time, tail):
    rows = np.arange(1, time + 1)
    found = windows(rows, 5, 3, tail)
    assert found.shape[1] == 5
    for number, window in enumerate(found):
        part = rows[3 * number : 3 * number + 5]
        np.testing.assert_array_equal(window, np.pad(part, (0, 5 - len(part))))
    covered = 3 * (len(found) - 1) + 5
    assert covered >= time if tail == "pad" else time - 3 < covered <= max(time, 5)


@pytest.mark.parametrize("samples", [1, 3, 4, 7, 11])
def test_pieces_cover_every_sample_and_none_is_short(samples):
    wave = np.arange(samples)
    found = pieces(wave, 4, 2)
    assert all(len(piece) == min(4, samples) for piece in found)
    assert set(np.concatenate(found)) == set(wave)
    assert len(pieces(wave, 0, 1)) == 1


def test_padding_keeps_the_sound_whole(rng):
    wave = rng.normal(size=5)
    assert padded(wave, 3) is wave
    np.testing.assert_array_equal(padded(wave, 8), np.pad(wave, (0, 3)))
    np.testing.assert_array_equal(padded(wave, 8, "both"), np.pad(wave, (1, 2)))
