"""Manifests as people's programs write them, and every row that is wrong by its number."""

from __future__ import annotations

import csv
import functools
import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError, ManifestError


@pytest.fixture
def read(tmp_path):
    def read(text, name="manifest.csv"):
        path = tmp_path / "birds" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Manifest.read(path)

    return read


def test_what_is_needed_and_what_stands_in_for_the_rest(read):
    manifest = read("path,label\nb.wav,owl\na.wav,\n")
    assert len(manifest) == 2
    assert manifest.ids == ["b.wav", "a.wav"]
    assert manifest.labels == ["owl", ""]
    assert manifest.groups.tolist() == ["b.wav", "a.wav"]
    assert manifest.splits.tolist() == ["", ""]
    assert manifest.name == "birds"
    assert manifest.interval(0) == (None, None)
    assert manifest.audio_path(1).parts[-2:] == ("birds", "a.wav")
    assert manifest.table["row"].tolist() == [2, 3]


def test_every_column_is_read_whatever_their_order_and_others_are_ignored(read):
    manifest = read("end,note,label,group,path,row,split,dataset,start,id\n2.5,x,owl,g,a.wav,9,test,night,1,7\n")
    assert manifest.ids == ["a.wav#1-2.5"]
    assert manifest.interval(0) == (1.0, 2.5)
    assert (manifest.groups[0], manifest.splits[0], manifest.name) == ("g", "test", "night")
    assert manifest.table["row"].tolist() == [2]


def test_aliases_of_columns_are_read_and_the_own_name_goes_first(read):
    manifest = read("path,label,speaker_or_group,fold_or_split\na.wav,owl,g,1\n")
    assert (manifest.groups[0], manifest.splits[0]) == ("g", "1")
    manifest = read("path,label,speaker_or_group,group\na.wav,owl,alias,own\n")
    assert manifest.groups[0] == "own"


def test_a_manifest_of_another_name_names_the_data_set(read):
    assert read("path,label\na.wav,owl\n", "owls.csv").name == "owls"
    assert read("path,label,dataset\na.wav,owl,x\nb.wav,owl,\nc.wav,owl,x\n", "owls.csv").name == "x+owls"


PLAIN = "path,label,group\na.wav,owl,g\nb.wav,tit,h\n"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in PLAIN.split()),
        '\ufeff"path","label","group"\r\n"a.wav","owl","g"\r\n"b.wav","tit","h"\r\n',
        " path , label,group \n a.wav , owl,g\nb.wav,\ttit , h\n",
        PLAIN + "\n\n,,\n",
    ],
    ids=["bom", "crlf", "bom crlf", "no last line end", "quotes", "bom quotes", "spaces", "blank lines at the end"],
)
def test_the_same_rows_however_the_file_is_written(read, text):
    manifest = read(text)
    assert manifest.ids == ["a.wav", "b.wav"]
    assert manifest.labels == ["owl", "tit"]
    assert manifest.groups.tolist() == ["g", "h"]


def test_blank_lines_are_skipped_and_row_numbers_still_are_lines(read):
    manifest = read("path,label,group\n\na.wav,owl,g\n\n\nb.wav,tit,h\n")
    assert manifest.ids == ["a.wav", "b.wav"]
    assert manifest.table["row"].tolist() == [3, 6]


def test_a_row_may_leave_its_last_cells_out(read):
    manifest = read("path,label,group,start\na.wav,owl\nb.wav,tit,h\n")
    assert manifest.groups.tolist() == ["a.wav", "h"]
    assert manifest.interval(0) == (None, None)


@pytest.mark.parametrize("label", ["nan", "NA", "null", "None", "", "0", "007", "1e3", "True", "-", "N/A"])
def test_words_that_look_like_nothing_or_like_numbers_stay_labels(read, label):
    assert read(f"path,label,group\na.wav,{label},{label}\n").labels == [label]
    assert read(f"path,label,group\na.wav,x,{label}\n").groups.tolist() == [label or "a.wav"]


ODD = ["crying baby", "söt/ärtig", "犬", "🐕", "a=b;c", "it's", 'say "hi"', "a,b", "<b>&amp;", "%s{0}", "../../x"]


@pytest.mark.parametrize("label", ODD)
def test_labels_paths_and_groups_with_odd_characters_stay_as_they_are(read, label):
    file = io.StringIO()
    csv.writer(file).writerows([["path", "label", "group"], [f"{label}.wav", label, label]])
    manifest = read(file.getvalue())
    assert (manifest.ids, manifest.labels, manifest.groups.tolist()) == ([f"{label}.wav"], [label], [label])


@pytest.mark.parametrize(
    ("start", "end", "name", "interval"),
    [
        ("0", "1", "a.wav#0-1", (0.0, 1.0)),
        ("1.50", "2", "a.wav#1.5-2", (1.5, 2.0)),
        ("1.5", "", "a.wav#1.5-", (1.5, None)),
        ("", "2", "a.wav#0-2", (None, 2.0)),
        ("0.000001", "3599.999999", "a.wav#1e-06-3599.999999", (1e-6, 3599.999999)),
    ],
)
def test_a_part_of_a_file_is_named_by_its_interval(read, start, end, name, interval):
    manifest = read(f"path,label,start,end\na.wav,owl,{start},{end}\n")
    assert manifest.ids == [name]
    assert manifest.interval(0) == interval


def test_parts_of_a_long_file_that_differ_by_a_millisecond_are_different_clips(read):
    rows = "".join(f"a.wav,owl,{3000 + number / 1000:.3f},{3000.5 + number / 1000:.3f}\n" for number in range(20))
    manifest = read("path,label,start,end\n" + rows)
    assert len(set(manifest.ids)) == 20
    assert set(manifest.groups) == {"a.wav"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read .* as CSV: it is empty"),
        ("path,label\n", "names no clip"),
        ("path,label\n\n,\n", "names no clip"),
        ("document,label\na,b\n", r"has no column 'path'; found: document, label\. "),
        ("path,lable\na,b\n", r"no column 'label'; did you mean 'lable'"),
        ("path:label\na:b\n", "no column 'path'"),
        ("\npath,label\na,b\n", "no column 'path'|cannot read"),
        ("path,label\na.wav,owl,extra\nb.wav,tit,extra\n", "line 2 has 3 cells, the lines above it 2"),
        ("path,label\na.wav,owl\nb.wav,tit,extra\n", "line 3 has 3 cells, the lines above it 2"),
        ('path,label\n"a.wav,owl\n', "EOF inside string"),
        ("path,label,path\na.wav,owl,b.wav\n", "two columns 'path'"),
        ("path,label, label\na.wav,owl,tit\n", "two columns 'label'"),
        ("path,label,fold_or_split,fold_or_split\na.wav,owl,1,2\n", "two columns 'fold_or_split'"),
        ("path,label\na.wav,owl\n,tit\n  ,tit\n", "row 3, 4: the path is empty"),
        ("path,label,start\na.wav,owl,soon\n", "row 2: start is not a number of seconds"),
        ("path,label,start\na.wav,owl,nan\n", "row 2: start is not a number"),
        ("path,label,end\na.wav,owl,\nb.wav,owl,True\n", "row 3: end is not a number"),
        ("path,label,start\na.wav,owl,-1\n", "row 2: start is not a time in the file"),
        ("path,label,end\na.wav,owl,inf\n", "row 2: end is not a time in the file"),
        ("path,label,start,end\na.wav,owl,2,1\n", "row 2: end is not after start"),
        ("path,label,start,end\na.wav,owl,2,2\n", "row 2: end is not after start"),
        ("path,label,end\na.wav,owl,0\n", "row 2: end is not after start"),
        ("path,label\na.wav,owl\nb.wav,owl\na.wav,tit\n", "row 4: the clip is named twice"),
        ("path,label,start,end\na.wav,owl,1,2\na.wav,owl,1.0,2.0\n", "row 3: the clip is named twice"),
        ("path,label\n" + "a.wav,owl\n" * 9, "row 3, 4, 5, 6, 7 and 3 more: the clip is named twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(read, text, message):
    with pytest.raises(ManifestError, match=message) as caught:
        read(text)
    assert "manifest.csv" in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_another_encoding_is_refused_by_name(read, encoding):
    with pytest.raises(ManifestError, match="is not UTF-8"):
        read("path,label\na.wav,größe\n".encode(encoding))


def test_a_missing_manifest_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"no manifest at .*none\.csv"):
        Manifest.read(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match="cannot read .*directory"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    "rows", [[2, 0], np.array([2, 0]), range(2), [], np.array([False, True, True]), np.zeros(3, bool)]
)
def test_a_selection_holds_the_chosen_clips_in_the_chosen_order(read, rows):
    manifest = read("path,label,group,split,start\na,x,g,1,1\nb,y,h,2,\nc,z,g,1,3\n")
    chosen = manifest.select(rows)
    numbers = np.flatnonzero(rows).tolist() if getattr(rows, "dtype", None) is np.dtype(bool) else list(rows)
    assert chosen.ids == [manifest.ids[number] for number in numbers]
    assert chosen.labels == [manifest.labels[number] for number in numbers]
    assert chosen.groups.tolist() == [manifest.groups[number] for number in numbers]
    assert chosen.table["row"].tolist() == [number + 2 for number in numbers]
    assert [chosen.interval(new) for new in range(len(chosen))] == [manifest.interval(number) for number in numbers]
    assert chosen.select(range(len(chosen))).table.equals(chosen.table)


@pytest.mark.parametrize(
    ("name", "clips"), [("fsdd", 3000), ("esc10", 320), ("drums_machine", 184), ("donateacry", 100)]
)
def test_published_manifests_are_read(shared: Path, name, clips):
    manifest = Manifest.read(shared / "data" / name / "manifest.csv")
    assert (len(manifest), manifest.name) == (clips, name)
    assert not set(manifest.groups) & set(manifest.ids)
    assert all(manifest.splits)
    assert manifest.audio_path(0).is_file()


CELLS = st.text(alphabet=st.sampled_from('ab,"\n\r ;|?#0.-\t\ufeff\x00é漢'), max_size=6)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4), st.sampled_from(["", "\ufeff", "\n", ","]))
def test_any_cells_are_read_or_are_a_manifest_error(read, cells, before):
    text = before + "path,label,start\n" + "\n".join(",".join(row) for row in cells)
    try:
        manifest = read(text)
    except EmbcompError as error:
        assert isinstance(error, ManifestError)
    else:
        assert len(manifest) == len(set(manifest.ids)) > 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
@example(b"path,label\n\xff,x\n")
@example(b'path,label\n"')
@example(b"path,label\r\r\n")
def test_any_bytes_are_read_or_are_a_manifest_error(read, content):
    try:
        assert len(read(content)) > 0
    except EmbcompError as error:
        assert isinstance(error, ManifestError)


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=6).filter(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5, unique_by=lambda row: row[0]))
def test_what_a_csv_writer_writes_comes_back(read, rows):
    # Paths that look like URLs have tests of their own.
    rows = [
        tuple(cell.replace("\ufeff", "x").replace("\\", "/").replace("://", ":/").strip() for cell in row)
        for row in rows
    ]
    if len({row[0] for row in rows}) < len(rows):
        return
    file = io.StringIO()
    csv.writer(file).writerows([("path", "label", "group"), *rows])
    manifest = read(file.getvalue())
    form = functools.partial(unicodedata.normalize, "NFC")
    assert list(zip(manifest.ids, manifest.labels, manifest.groups)) == [(p, form(x), form(g)) for p, x, g in rows]
