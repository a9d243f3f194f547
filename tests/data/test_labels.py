"""Label cells as numbers, and label names carried from one data set to another."""

from __future__ import annotations

import numpy as np
import pytest

from embcomp.data.labels import encode, map_labels, read_label_map
from embcomp.errors import ManifestError

NAN = np.nan


def test_single_labels_become_sorted_class_numbers():
    labels = encode(["owl", "tit", "", "owl", " bat "])
    assert labels.classes == ("bat", "owl", "tit")
    assert labels.index.tolist() == [1, 2, -1, 1, 0]
    assert labels.labelled.tolist() == [True, True, False, True, True]
    assert labels.matrix.dtype == np.float32 and len(labels) == 5
    assert not labels.multi_label


@pytest.mark.parametrize("name", ["nan", "NA", "None", "7", "a b", "söt", "a,b", "犬"])
def test_any_word_is_a_class(name):
    labels = encode([name, "zzz", name])
    assert labels.classes[labels.index[0]] == name
    assert labels.index[0] == labels.index[2] != labels.index[1]


def test_several_labels_and_unknown_ones():
    labels = encode(["a|b", "?a|c", "", "b", "b | |?c"])
    assert labels.multi_label
    np.testing.assert_array_equal(labels.matrix, [[1, 1, 0], [NAN, 0, 1], [NAN] * 3, [0, 1, 0], [0, 1, NAN]])
    assert labels.labelled.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("cell", ["a|?a", "?a|a", "a|a", "a|?a|a"])
def test_a_label_named_plainly_applies_however_often_it_is_named(cell):
    np.testing.assert_array_equal(encode([cell, "b"]).matrix, [[1, 0], [0, 1]])


def test_one_label_named_twice_is_one_label():
    labels = encode(["a|a", "b"])
    assert not labels.multi_label
    assert labels.index.tolist() == [0, 1]


def test_a_class_number_of_several_labels_is_refused():
    with pytest.raises(ManifestError, match="several labels each"):
        encode(["a|b", "b"]).index  # noqa: B018


@pytest.mark.parametrize("cells", [[], ["", ""], ["a", "a"], ["a", "?a"]])
def test_fewer_than_two_classes_are_refused(cells):
    with pytest.raises(ManifestError, match="two classes or more"):
        encode(cells)


@pytest.mark.parametrize("cell", ["?", "a|?", "? | b"])
def test_a_question_mark_without_a_name_is_refused(cell):
    with pytest.raises(ManifestError, match=r"has a \? without a name"):
        encode(["a", "b", cell])


def test_a_given_vocabulary_holds_and_keeps_its_order():
    labels = encode(["tit", ""], ["tit", "owl"])
    assert labels.classes == ("tit", "owl")
    assert labels.index.tolist() == [0, -1]
    with pytest.raises(ManifestError, match="'bat' is not among the classes"):
        encode(["?bat"], ["tit", "owl"])


def test_to_stratify_the_rarest_label_of_a_clip_counts():
    labels = encode(["a|b", "a", "a|c", "c", "?a", "", "a|c"])
    assert labels.for_splits.tolist() == [1, 0, 2, 2, -1, -1, 2]


def test_to_stratify_single_labels_are_their_class():
    labels = encode(["b", "a", "", "b"])
    assert labels.for_splits.tolist() == labels.index.tolist() == [1, 0, -1, 1]


def test_a_selection_keeps_classes_and_kind():
    labels = encode(["a|b", "", "b"])
    chosen = labels.select(np.array([2, 1]))
    assert (chosen.classes, chosen.multi_label) == (labels.classes, True)
    np.testing.assert_array_equal(chosen.matrix, labels.matrix[[2, 1]])


def test_labels_are_mapped_by_name_and_the_rest_is_counted():
    mapped = map_labels(["dog", "cat", "", "cow", "cow", "dog"], ["bird", "cat", "dog"])
    assert mapped.kept.tolist() == [0, 1, 5]
    assert mapped.labels.index.tolist() == [2, 1, 2]
    assert mapped.left_out == {"(no label)": 1, "cow": 2}
    assert mapped.not_tested == ("bird",)
    assert len(mapped.kept) + sum(mapped.left_out.values()) == 6


def test_a_map_renames_and_drops():
    mapped = map_labels(["puppy", "dog", "kitten"], ["cat", "dog"], {"puppy": "dog", "kitten": "cat", "dog": ""})
    assert mapped.kept.tolist() == [0, 2]
    assert mapped.labels.index.tolist() == [1, 0]
    assert mapped.left_out == {"dog": 1}
    assert mapped.not_tested == ()


def test_several_labels_are_mapped_one_by_one():
    mapped = map_labels(["puppy|cow|?cat", "cow|?ox", "dog|?puppy"], ["cat", "dog"], {"puppy": "dog"})
    assert mapped.kept.tolist() == [0, 2]
    np.testing.assert_array_equal(mapped.labels.matrix, [[NAN, 1], [0, 1]])
    assert mapped.left_out == {"cow|?ox": 1}
    assert mapped.not_tested == ("cat",)


def test_two_data_sets_without_a_common_label_are_refused():
    with pytest.raises(ManifestError, match=r"no label of the data set \(cow, ox\) is among .* give a label map"):
        map_labels(["cow", "ox"], ["cat", "dog"])


@pytest.mark.parametrize(
    "text",
    [
        "from,to\na,b\nc,\n",
        "\ufefffrom,to\r\na,b\r\nc,\r\n",
        ' from , to\n"a",b\n\n c ,\n\n',
        "from,to\na,b\na,b\nc,\n",
    ],
)
def test_a_label_map_is_read(tmp_path, text):
    (tmp_path / "map.csv").write_bytes(text.encode())
    assert read_label_map(tmp_path / "map.csv") == {"a": "b", "c": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no label map at"),
        (b"", "exactly the columns from,to"),
        (b"to,from\na,b\n", "exactly the columns from,to"),
        (b"from,to\na,b,c\n", "exactly the columns from,to"),
        (b"from,to\na\n", "exactly the columns from,to"),
        (b"from,to\n\xe4,b\n", "is not UTF-8 .* row 2.*'ä,b'. Save it as UTF-8"),
        (b"from,to\na,b\na,c\n", "sends 'a' to both 'b' and 'c'"),
    ],
)
def test_a_label_map_that_is_none_is_refused_by_name(tmp_path, content, message):
    if content is not None:
        (tmp_path / "map.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message) as caught:
        read_label_map(tmp_path / "map.csv")
    assert "map.csv" in str(caught.value)
