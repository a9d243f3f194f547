"""Cells that are probably a slip are pointed out, and nothing is changed."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcomp.data.labels import encode, map_labels
from embcomp.data.manifest import Manifest
from embcomp.data.slips import slips, unicode_form
from embcomp.errors import EmbcompWarning


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NA", "n/a", "<NA>", "null", "NULL", "NaT"])
@pytest.mark.parametrize("what", ["label", "group", "split"])
def test_words_for_nothing_are_reported_with_their_rows(word, what):
    (found,) = slips(["x", word, "x", word], [2, 3, 4, 5], what)
    assert found == f"row 3, 5: {word!r} is taken as a {what}; leave the cell empty where there is none"


@pytest.mark.parametrize(
    "names",
    [
        ("Dog", "dog"),
        ("crying baby", "crying_baby"),
        ("crying baby", "crying  baby"),
        ("owl", "o\u00adwl"),
        ("a-b", "a b"),
    ],
)
def test_labels_alike_but_for_case_blanks_or_marks_are_pointed_out(names):
    (found,) = slips([names[0], names[0], names[1], "cat"])
    assert repr(names[0]) in found and repr(names[1]) in found and "count as 2" in found
    assert encode([*names, "cat"], check=False).classes == tuple(sorted([*names, "cat"]))


def test_of_groups_numbers_written_in_two_ways_are_pointed_out():
    assert "'7' (2 cells) and '07' (1)" in slips(["7", "7", "07"], what="group")[0]
    assert "'7.0' (1)" in slips(["7", "7", "7.0"], what="group")[0]
    assert slips(["7", "07"]) == []  # labels may be digits


def test_commas_are_pointed_out_and_the_label_stays_one():
    (found,) = slips(["Bark,Dog", "Dog"], [2, 3])
    assert found.startswith("row 2: 'Bark,Dog': each is one label, with a comma") and "join them by |" in found
    with pytest.warns(EmbcompWarning, match="join them by"):
        assert encode(["Bark,Dog", "Dog"]).classes == ("Bark,Dog", "Dog")


def test_good_labels_say_nothing():
    assert slips(["dog", "cat", "dog|cat", "?owl", "", "|", "no"]) == []


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_unicode_forms_are_one_label_everywhere(tmp_path, forms):
    first, second = (unicodedata.normalize(form, "Grünfink") for form in forms)
    labels = encode([first, second, "Amsel"])
    assert labels.classes == ("Amsel", unicodedata.normalize("NFC", first)) and labels.index.tolist() == [1, 1, 0]
    mapped = map_labels([first, "x"], ["Amsel", second], {"x": first})
    assert mapped.labels.index.tolist() == [1, 1]
    (tmp_path / "m.csv").write_text(f"path,label,group\na,{first},{first}\nb,{second},{second}\n", encoding="utf-8")
    manifest = Manifest.read(tmp_path / "m.csv")
    assert len(set(manifest.labels)) == len(set(manifest.groups)) == 1


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, float("nan")])
def test_a_missing_value_is_no_label(missing):
    labels = encode(["a", missing, "b"])
    assert labels.classes == ("a", "b") and labels.index.tolist() == [0, -1, 1]


@given(st.lists(st.text(max_size=6), max_size=8))
def test_any_cells_are_looked_at(cells):
    assert all(isinstance(found, str) for what in ("label", "group", "split") for found in slips(cells, what=what))


@given(st.text())
def test_the_form_of_text_is_settled_at_once(text):
    assert unicode_form(unicode_form(text)) == unicode_form(text) == unicodedata.normalize("NFC", text)
