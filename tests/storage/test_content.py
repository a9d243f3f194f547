"""Keys of audio: parts of a file that overlap share it, others do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.storage.content import GRACE, Spans, chains, older_keys, part_key, span

TIMES = st.one_of(st.none(), st.floats(0, 1e5), st.integers(0, 9).map(float))
KEYS = st.builds(
    lambda file, start, length: part_key(file, start, None if length is None else (start or 0) + length),
    st.sampled_from("ab"),
    st.one_of(st.none(), st.integers(0, 30).map(lambda number: number / 4)),
    st.one_of(st.none(), st.integers(1, 12).map(lambda number: number / 4)),
)


def overlap(one: str, other: str) -> bool:
    (file, start, end), (other_file, other_start, other_end) = span(one), span(other)
    return one == other or (file == other_file and min(end, other_end) - max(start, other_start) > GRACE)


@given(st.text(min_size=1).filter(lambda text: "#" not in text), TIMES, TIMES)
def test_a_key_says_file_start_and_end(file, start, end):
    found = span(part_key(file, start, end))
    assert found[0] == file
    assert found[1] == pytest.approx(start or 0.0, rel=1e-11)
    assert found[2] == (math.inf if end is None else pytest.approx(end, rel=1e-11))


@pytest.mark.parametrize("name", ["a#b-c.wav", "take#3.wav", "a#1-2.wav", "#", "a#-", ""])
def test_names_with_a_hash_sign_are_whole_files(name):
    assert span(name) == (name, 0.0, math.inf)


@given(st.lists(KEYS, max_size=12), KEYS)
def test_a_key_is_found_if_any_overlaps_and_what_is_found_does(keys, key):
    number = Spans(keys).find(key)
    assert (number >= 0) == any(overlap(one, key) for one in keys)
    assert number < 0 or overlap(keys[number], key)


@settings(deadline=None)
@given(st.lists(KEYS, max_size=12))
def test_chains_are_the_connected_parts(keys):
    from scipy.sparse.csgraph import connected_components

    found = chains(keys)
    matrix = np.array([[overlap(one, other) for other in keys] for one in keys], dtype=int).reshape(
        len(keys), len(keys)
    )
    expected = connected_components(matrix, directed=False)[1] if keys else []
    assert len(set(zip(found, expected))) == len(set(found)) == len(set(expected))


def test_a_millisecond_of_rounding_is_no_overlap():
    assert Spans(["a#0-1.0004"]).find("a#1-2") == -1
    assert Spans(["a#0-1.2"]).find("a#1-2") == 0
    assert Spans(["a"]).find("a#1-2") == Spans(["a#1-2"]).find("a") == 0


def test_what_older_versions_called_a_part_is_known():
    import hashlib

    assert hashlib.sha256(b"abc(1.0, 2.5)").hexdigest()[:16] in older_keys("abc#1-2.5")
    assert hashlib.sha256(b"abc(None, 2.5)").hexdigest()[:16] in older_keys("abc#0-2.5")
    assert hashlib.sha256(b"abc(1.5, None)").hexdigest()[:16] in older_keys("abc#1.5-")
    assert older_keys("abc") == set()
