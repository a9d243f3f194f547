"""What a page says where there is no audio, and of names too long for a panel."""

from __future__ import annotations

import pytest

from embcomp.report.svg import shorten, text_width
from embcomp.report.tables import guard_notes, notes


@pytest.mark.parametrize("width", [30, 60, 100, 150])
def test_a_long_name_keeps_both_ends(width):
    names = [f"probe: store:teacher.npy > {kind}/reconstruction 9" for kind in ("pca", "linear")]
    short = shorten(names[0], width)
    assert text_width(short) <= width and "…" in short
    if width >= 60:
        assert short.startswith("pro") and short.endswith(" 9")
    assert shorten("short", 400) == "short"


def test_what_is_said_of_two_sets_is_said_once_with_their_names():
    metrics = {
        "notes": {"first": ["manifest.csv: no groups given"], "other": ["manifest.csv: no groups given", "more"]}
    }
    assert notes(metrics) == ["first, other: manifest.csv: no groups given", "more"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [("audio", "overlap the audio"), ("none", "repeat the vector of"), ("images", "repeat the image of")],
)
def test_guards_say_what_they_compared(inputs, words):
    found = guard_notes({"checked": ["a"], "duplicate_clips": 2, "joined_groups": 1}, inputs)
    assert words in found[0] and ("audio" in found[1]) == (inputs == "audio")
