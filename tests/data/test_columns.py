"""Columns under the names people give them: taken and said, named as unused, or asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcomp.data.columns import MEANING_OF, MEANINGS, assign, simplified
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError

BASE = {"path": ["a.wav", "b.wav", "c.wav", "d.wav"], "label": ["x", "y", "x", "y"]}
ONE, OTHER = ["1", "1", "2", "2"], ["1", "2", "2", "1"]


@pytest.mark.parametrize(("meaning", "name"), [(m, n) for m, names in MEANINGS.items() for n in names if m != n])
def test_every_documented_name_is_taken_and_said(meaning, name):
    table = {key: cells for key, cells in BASE.items() if key != meaning} | {name: BASE.get(meaning, ONE)}
    found = assign(table, "m.csv")
    assert found.source[meaning] == name
    assert any(f"the column {name!r} is taken as the {meaning}" in note for note in found.notes)


@pytest.mark.parametrize("name", ["Speaker ID", "speakerId", "SPEAKER-ID", " speaker_id", "Speaker_Id"])
def test_case_blanks_and_dashes_of_a_name_do_not_matter(name):
    assert assign(BASE | {name: ONE}, "m.csv").source["group"] == name


def test_no_name_means_two_things():
    names = [simplified(name) for names in MEANINGS.values() for name in names]
    assert len(MEANING_OF) == len(set(names))
    assert all(simplified(name) in {simplified(n) for n in MEANINGS[meaning]} for name, meaning in MEANING_OF.items())


def test_the_own_name_goes_first_and_the_other_is_named_as_unused():
    found = assign(BASE | {"speaker": OTHER, "group": ONE, "age": ONE}, "m.csv")
    assert found.source["group"] == "group"
    assert found.notes == ("m.csv: columns not used: speaker, age",)


def test_an_own_column_without_values_counts_as_none():
    assert assign(BASE | {"group": [""] * 4, "speaker": ONE}, "m.csv").source["group"] == "speaker"
    assert assign({"path": BASE["path"], "label": [""] * 4}, "m.csv").source == {"path": "path", "label": "label"}


def test_with_two_groups_the_user_is_asked_and_the_answer_holds():
    table = BASE | {"speaker": ONE, "session": OTHER}
    with pytest.raises(
        ManifestError, match=r"'speaker' \(2 values\) and 'session' \(2 values\) .* --group-column NAME"
    ):
        assign(table, "m.csv")
    found = assign(table, "m.csv", "session")
    assert found.source["group"] == "session" and "columns not used: speaker" in found.notes[-1]
    assert assign(table | {"mood": ONE}, "m.csv", "mood").source["group"] == "mood"
    with pytest.raises(ManifestError, match=r"no column 'sesion' to take as the group \(found: path, label, speaker"):
        assign(table, "m.csv", "sesion")


def test_columns_that_divide_the_rows_alike_are_one_and_words_go_before_numbers():
    found = assign(BASE | {"speaker_id": ["7", "7", "9", "9"], "speaker": ["ann", "ann", "bob", "bob"]}, "m.csv")
    assert found.source["group"] == "speaker"
    found = assign({"path": BASE["path"], "target": OTHER, "category": ["x", "y", "y", "x"]}, "m.csv")
    assert found.source["label"] == "category"


def test_with_two_labels_the_user_is_asked_and_with_two_splits_none_is_taken():
    with pytest.raises(ManifestError, match="rename the one you mean to 'label'"):
        assign({"path": BASE["path"], "emotion": ONE, "species": OTHER}, "m.csv")
    found = assign(BASE | {"fold": ONE, "subset": OTHER}, "m.csv")
    assert "split" not in found.source
    assert any(
        "'fold' (2 values) and 'subset' (2 values) may each mean the split; none is used" in n for n in found.notes
    )


def test_an_offset_is_an_end_only_beside_an_onset():
    assert assign(BASE | {"onset": ONE, "offset": OTHER}, "m.csv").source["end"] == "offset"
    assert "end" not in assign(BASE | {"start": ONE, "offset": OTHER}, "m.csv").source


@given(st.lists(st.sampled_from([*MEANING_OF, "age", "note", "x y"]), max_size=5, unique=True), st.randoms())
def test_every_column_is_used_or_named_or_asked_for(names, random):
    table = BASE | {name: [str(random.randrange(3)) for _ in range(4)] for name in names if name not in BASE}
    try:
        found = assign(table, "m.csv")
    except ManifestError as error:
        assert "may each mean" in str(error)
        return
    said = " ".join(found.notes)
    for name in table:
        assert name in found.source.values() or name in said


def test_the_documentation_lists_every_name():
    path = Path(__file__).resolve().parents[2] / "docs/manifests.md"
    shown = path.read_text(encoding="utf-8").split("<!-- columns -->\n")[1].split("<!-- end -->")[0]
    content = {
        "path": "the audio file",
        "label": "the class, or several classes joined by a bar",
        "group": "what must not be split between train and test",
        "split": "the published fold or part",
        "dataset": "the name of the data set; by default that of the file or its folder",
        "start": "start of the clip in the file, seconds",
        "end": "end of the clip in the file, seconds",
    }
    rows = [
        f"| `{meaning}` | {content[meaning]} | {', '.join(f'`{name}`' for name in names if name != meaning)} |"
        for meaning, names in MEANINGS.items()
    ]
    assert shown.splitlines()[2:] == rows


@pytest.mark.parametrize("name", ["Speaker Name", "speaker_code", "actor-name", "narrator", "reader_id", "deployment"])
def test_more_names_of_a_group(name):
    assert assign(BASE | {name: ["7", "7", "9", "9"]}, "m.csv").source["group"] == name


@pytest.mark.parametrize("name", ["age", "file code", "mic position", "name", "code"])
def test_names_that_mean_no_group(name):
    assert "group" not in assign(BASE | {name: ["7", "7", "9", "9"]}, "m.csv").source


def test_columns_that_may_be_times_are_named_where_a_file_occurs_twice(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,offset,duration\na.wav,x,0,1\na.wav,y,1,1\n")
    with pytest.raises(ManifestError, match="named twice.*If offset and duration are times, `embcomp manifest table"):
        Manifest.read(tmp_path / "m.csv")


@pytest.mark.parametrize("text", ["Datei;Klasse\na.wav;x\n", "path|label\na.wav|x\n", "a.wav,x\nb.wav,y\n"])
def test_a_table_of_another_form_is_shown_the_way(tmp_path, text):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match="has no column 'path'; .*`embcomp manifest table .*m.csv`"):
        Manifest.read(tmp_path / "m.csv")
