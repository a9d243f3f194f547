"""Windows and their labels: against a plain reading of the rule, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.data.makers.windows import Selection, WindowRule, cut, label_windows, overlap_share
from embcomp.errors import ConfigError

SECONDS = st.floats(0.05, 30).map(lambda value: round(value, 3))


@given(length=SECONDS, window=SECONDS, hop=SECONDS)
def test_windows_cover_what_is_long_enough(length, window, hop):
    places = cut(0.0, length, WindowRule(window, hop))
    assert places[0][0] == 0.0 and all(0 <= start < end <= length + 1e-6 for start, end in places)
    assert all(end - start <= window + 1e-6 for start, end in places)
    assert np.allclose(np.diff([start for start, _ in places]), hop, atol=1e-5)
    # Nothing is missed but a rest that is shorter than half a window, and what lies between windows.
    last = places[-1][0]
    assert length - (last + hop) < window / 2 + 2e-3 or last + window >= length - 2e-3


def test_whole_windows_leave_no_empty_one_at_the_end():
    assert cut(0.0, 3.0, WindowRule(1.0)) == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert cut(0.0, 3.0004, WindowRule(1.0)) == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert cut(0.0, 2.4, WindowRule(1.0)) == [(0.0, 1.0), (1.0, 2.0)]
    assert cut(5.0, 5.3, WindowRule(1.0)) == [(5.0, 5.3)]
    assert cut(0.0, 2.0, WindowRule(1.0, 0.5)) == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]


@settings(deadline=None)
@given(
    marks=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), st.sampled_from("abc")), max_size=12),
    window=st.floats(0.5, 4),
    hop=st.floats(0.3, 4),
    share=st.floats(0.05, 1),
)
def test_labels_are_those_of_every_selection_looked_at_one_by_one(marks, window, hop, share):
    selections = [Selection(start, start + length, label) for start, length, label in marks]
    found = label_windows(20.0, selections, WindowRule(window, hop, share))
    for one in found:
        shares = [(overlap_share(one.start, one.end, mark), mark.label) for mark in selections]
        enough = {label for value, label in shares if value >= share - 1e-9}
        assert set(one.labels) == enough
        assert set(one.partly) == {label for value, label in shares if 0 < value < share - 1e-9} - enough


def test_the_share_is_of_the_shorter_of_window_and_selection():
    assert overlap_share(0, 1, Selection(0.9, 5.0, "a")) == pytest.approx(0.1)
    assert overlap_share(0, 3, Selection(2.9, 3.1, "a")) == pytest.approx(0.5)
    assert overlap_share(0, 1, Selection(1.0, 2.0, "a")) == 0
    assert overlap_share(0, 1, Selection(0.5, 0.5, "a")) == 1 and overlap_share(0, 1, Selection(1.0, 1.0, "a")) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seconds": 0}, "--window must lie in"),
        ({"seconds": 1, "hop": -1}, "--hop must be"),
        ({"seconds": 1, "overlap": 0}, "--overlap is a share"),
        ({"seconds": 1, "overlap": 1.5}, "--overlap is a share"),
        ({"seconds": float("nan")}, "--window must lie in"),
    ],
)
def test_rules_out_of_range_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        WindowRule(**values)
