"""Manifests of tables: every format, columns of any name, paths from other machines, times, several labels."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from helpers.sounds import write_sounds

from embcomp.data.makers import make
from embcomp.data.manifest import Manifest
from embcomp.data.tables import cell_text, read_table
from embcomp.errors import ManifestError

ROWS = {
    "File Name": ["dog/a.wav", "cat/b.wav", "cat/c.wav"],
    "category": ["dog", "cat, small", "cat"],
    "speaker": ["ann", "bob", "bob"],
    "age": ["3", "4.5", ""],
}


@pytest.fixture
def sounds(tmp_path):
    return write_sounds(tmp_path, "dog/a.wav", "cat/b.wav", "cat/c.wav")


def write(folder, form: str):
    table = pd.DataFrame(ROWS)
    path = folder / f"clips.{form}"
    if form == "xlsx":
        table.to_excel(path, index=False)
    elif form == "parquet":
        table.to_parquet(path)
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.to_dict("records")))
    elif form == "json":
        path.write_text(json.dumps(table.to_dict("records")))
    else:
        mark = {"csv": ",", "tsv": "\t", "semicolon.csv": ";", "pipe.csv": "|"}[form]
        table.to_csv(path, index=False, sep=mark)
    return path


FORMS = ("csv", "tsv", "semicolon.csv", "pipe.csv", "xlsx", "parquet", "jsonl", "json")


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_manifest(sounds, form):
    pytest.importorskip("openpyxl" if form == "xlsx" else "pyarrow" if form == "parquet" else "csv")
    made = make("table", write(sounds, form))
    assert [(row["path"], row["label"], row["group"]) for row in made.rows()] == [
        ("dog/a.wav", "dog", "ann"),
        ("cat/b.wav", "cat, small", "bob"),
        ("cat/c.wav", "cat", "bob"),
    ]
    assert any("'speaker' is taken as the group" in note for note in made.notes)
    assert any("not used: age" in note for note in made.notes)
    made.write()
    assert len(Manifest.read(made.out)) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_text_in_other_encodings_is_read(sounds, encoding):
    (sounds / "t.csv").write_text("path;label\ndog/a.wav;Grünfink\ncat/b.wav;Möwe\n", encoding=encoding)
    made = make("table", sounds / "t.csv")
    assert set(made.summary.classes) == {"Grünfink", "Möwe"}
    assert any("Windows-1252" in note for note in made.notes) == (encoding == "cp1252")


def test_columns_are_named_where_their_names_do_not_say(sounds):
    (sounds / "t.csv").write_text("a,b,c\ndog/a.wav,x,1\ncat/b.wav,y,2\n")
    with pytest.raises(ManifestError, match=r"no column that names the files \(found: a, b, c\).*--column path=NAME"):
        make("table", sounds / "t.csv")
    with pytest.raises(ManifestError, match="--column label=NAME"):
        make("table", sounds / "t.csv", column=("path=a",))
    with pytest.raises(ManifestError, match="has no column 'd'; "):
        make("table", sounds / "t.csv", column=("path=d",))
    with pytest.raises(ManifestError, match="did you mean 'group'"):
        make("table", sounds / "t.csv", column=("groop=c",))
    made = make("table", sounds / "t.csv", column=("path=a", "label=b", "group=c"))
    assert [(clip.label, clip.group) for clip in made.clips] == [("x", "1"), ("y", "2")]


def test_two_columns_that_may_be_the_group_are_asked_about(sounds):
    (sounds / "t.csv").write_text("path,label,speaker,session\ndog/a.wav,x,a,1\ncat/b.wav,y,b,1\ncat/c.wav,y,b,2\n")
    with pytest.raises(ManifestError, match=r"'speaker'.*'session'.*--column group=NAME"):
        make("table", sounds / "t.csv")
    made = make("table", sounds / "t.csv", column=("group=session",))
    assert [clip.group for clip in made.clips] == ["1", "1", "2"]


@pytest.mark.parametrize(
    "written",
    ["dog\\a.wav", "C:\\data\\set\\dog\\a.wav", "/home/someone/set/dog/a.wav", "dog/a", "a.wav", "./dog/a.wav"],
)
def test_paths_of_other_machines_are_found(sounds, written):
    (sounds / "t.csv").write_text(f"path,label\n{written},x\ncat/b.wav,y\n")
    assert make("table", sounds / "t.csv").clips[0].path.resolve() == (sounds / "dog/a.wav").resolve()


def test_a_name_that_fits_two_files_is_refused_and_more_of_the_path_decides(sounds):
    write_sounds(sounds, "dog/b.wav")
    (sounds / "t.csv").write_text("path,label\nb.wav,x\ncat/c.wav,y\n")
    with pytest.raises(ManifestError, match="'b.wav' may be cat/b.wav or dog/b.wav"):
        make("table", sounds / "t.csv")
    (sounds / "t.csv").write_text("path,label\nD:\\x\\dog\\b.wav,x\ncat/c.wav,y\n")
    assert make("table", sounds / "t.csv").clips[0].path == sounds / "dog/b.wav"


def test_missing_files_are_told_and_none_at_all_is_refused(sounds):
    (sounds / "t.csv").write_text("path,label\nnowhere.wav,x\ncat/c.wav,y\ndog/a.wav,x\n")
    assert make("table", sounds / "t.csv").left_out == (("nowhere.wav", "no such file"),)
    (sounds / "t.csv").write_text("path,label\nnowhere.wav,x\n")
    with pytest.raises(ManifestError, match="not one of the 1 files is there: 'nowhere.wav'.*--audio DIR"):
        make("table", sounds / "t.csv")
    (sounds / "tables").mkdir()
    (sounds / "tables" / "t.csv").write_text("path,label\ndog/a.wav,x\ncat/c.wav,y\n")
    assert len(make("table", sounds / "tables" / "t.csv", audio=str(sounds)).clips) == 2


def test_several_labels_by_separator_by_columns_and_by_rows(sounds):
    (sounds / "t.csv").write_text('path,label\ndog/a.wav,"Bark,Dog"\ncat/b.wav,Cat\n')
    assert make("table", sounds / "t.csv", separator=",").clips[0].label == "Bark|Dog"
    (sounds / "h.csv").write_text("path,dog,cat\ndog/a.wav,1,0\ncat/b.wav,1,1\ncat/c.wav,0,\n")
    assert [clip.label for clip in make("table", sounds / "h.csv", tag=("dog", "cat")).clips] == [
        "dog",
        "dog|cat",
        "?cat",
    ]
    (sounds / "h.csv").write_text("path,dog,cat\ndog/a.wav,1,maybe\n")
    with pytest.raises(ManifestError, match="row 2: cat is 'maybe'"):
        make("table", sounds / "h.csv", tag=("dog", "cat"))
    (sounds / "r.csv").write_text("path,label\ndog/a.wav,Bark\ndog/a.wav,Dog\ncat/b.wav,Cat\n")
    made = make("table", sounds / "r.csv")
    assert [clip.label for clip in made.clips] == ["Bark|Dog", "Cat"]
    assert any("1 row names a clip again" in note for note in made.notes)


def test_times_are_taken_from_start_and_end_or_from_offset_and_duration(sounds):
    (sounds / "t.csv").write_text("path,label,onset,offset\ndog/a.wav,x,0.05,0.1\ncat/b.wav,y,0.1,0.2\n")
    assert [(clip.start, clip.end) for clip in make("table", sounds / "t.csv").clips] == [(0.05, 0.1), (0.1, 0.2)]
    (sounds / "t.jsonl").write_text(
        '{"audio_filepath": "dog/a.wav", "offset": 0.1, "duration": 0.1, "label": "x"}\n'
        '{"audio_filepath": "cat/b.wav", "offset": 0, "duration": 0.2, "label": "y"}\n'
    )
    made = make("table", sounds / "t.jsonl")
    assert [(clip.start, round(clip.end, 6)) for clip in made.clips] == [(0.1, 0.2), (0.0, 0.2)]
    (sounds / "t.csv").write_text("path,label,start,end\ndog/a.wav,x,soon,0.1\n")
    with pytest.raises(ManifestError, match="row 2: start is 'soon', not a number of seconds"):
        make("table", sounds / "t.csv")
    (sounds / "t.csv").write_text("path,label,start,end\ndog/a.wav,x,0.2,0.1\ncat/b.wav,x,0,0.1\n")
    with pytest.raises(ManifestError, match="row 2: the end, 0.1 s, lies before the start"):
        make("table", sounds / "t.csv")


def test_a_start_past_the_end_is_left_out_and_an_end_past_it_is_cut(sounds):
    (sounds / "t.csv").write_text("path,label,start,end\ndog/a.wav,x,0.1,9\ncat/b.wav,y,5,6\n")
    made = make("table", sounds / "t.csv")
    assert [(clip.start, clip.end) for clip in made.clips] == [(0.1, 0.25)]
    assert made.left_out == (("cat/b.wav at 5 s", "the file ends at 0.25 s"),)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "path,label\n", "no row below its header"),
        ("t.csv", "path,label,label\na,b,c\n", "two columns 'label'"),
        ("t.csv", "path,label\na,b,c\n", "line 2 or so, has 3 cells"),
        ("t.jsonl", '{"path": \n', "line 1 is not JSON"),
        ("t.jsonl", "[1, 2]\n", "one JSON object a line"),
        ("t.xls", "x", "save it as .xlsx or CSV"),
        ("t.xlsx", "x", "cannot read .* as Excel"),
        ("t.parquet", "x", "cannot read .* as Parquet"),
        ("t.csv", "a\0b\n", "not a text"),
    ],
)
def test_tables_that_are_none_are_refused_in_words(tmp_path, name, text, words):
    pytest.importorskip("openpyxl" if name.endswith("xlsx") else "pyarrow" if name.endswith("parquet") else "csv")
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=words):
        read_table(tmp_path / name)


def test_sheets_are_chosen_by_name(sounds):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(sounds / "b.xlsx") as book:
        pd.DataFrame({"x": [1]}).to_excel(book, sheet_name="notes", index=False)
        pd.DataFrame(ROWS).to_excel(book, sheet_name="clips", index=False)
    assert len(make("table", sounds / "b.xlsx", sheet="clips").clips) == 3
    with pytest.raises(ManifestError, match="no sheet 'clip'; did you mean 'clips'"):
        make("table", sounds / "b.xlsx", sheet="clip")
    assert "others: clips" in read_table(sounds / "b.xlsx")[1][0]


def test_missing_numbers_are_empty_cells_not_labels():
    assert [cell_text(value) for value in (float("nan"), None, 2.0, 1e9, True, ["x", None])] == [
        "",
        "",
        "2",
        "1000000000",
        "1",
        "x",
    ]


def test_missing_packages_are_named_with_the_command(sounds, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (sounds / "t.xlsx").write_text("x")
    (sounds / "t.parquet").write_text("x")
    for name in ("t.xlsx", "t.parquet"):
        with pytest.raises(ImportError, match=r"pip install -e '\.\[tables\]'"):
            read_table(sounds / name)
