"""Defaults of what is learned with, as documented."""

from __future__ import annotations

from helpers.documented import named, unnamed


def test_defaults_are_those_that_the_docstrings_name():
    found = list(named("embcomp.learning"))
    assert len(found) == 2 and unnamed("embcomp.learning") == []
    assert [one for one in found if one[2] != one[3] or type(one[2]) is not type(one[3])] == []
