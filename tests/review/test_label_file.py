"""The manifest that labels are added to: whole at any time, and otherwise as it was, byte by byte."""

from __future__ import annotations

import os

import pytest
from helpers.sounds import write_sounds

from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError, EmbcompWarning, ManifestError
from embcomp.review.label_file import Changed, LabelFile, Line

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")
NAMES = ("a.wav", "b.wav", "deep/c, d.wav")


@pytest.fixture
def clips(tmp_path) -> list[Line]:
    write_sounds(tmp_path / "sounds", *NAMES)
    return [Line(tmp_path / "sounds" / name, group=f"g{number}") for number, name in enumerate(NAMES)]


def opened(path, parts=False, groups=True) -> LabelFile:
    return LabelFile.open(path, parts, groups, allow_outside=True)


def test_a_new_file_is_a_manifest_after_each_label(clips, tmp_path):
    path = tmp_path / "labels/out.csv"
    file = opened(path)
    assert not path.exists()
    for number, line in enumerate(clips):
        file.add(line, f"label {number}")
        read = Manifest.read(path, allow_outside=True)
        assert read.labels == [f"label {one}" for one in range(number + 1)]
        assert read.audio_path(number).resolve() == line.path.resolve() and read.groups[number] == f"g{number}"
    assert opened(path).labels == {line.key: f"label {number}" for number, line in enumerate(clips)}
    for number in (2, 1, 0):
        file.take_back(clips[number], None)
    assert path.read_text() == "path,label,group\n"
    file.add(clips[1], "again")
    assert Manifest.read(path, allow_outside=True).labels == ["again"]


def test_parts_of_files_keep_their_times(clips, tmp_path):
    path = tmp_path / "out.csv"
    file = opened(path, parts=True, groups=False)
    parts = [Line(clips[0].path, 0.0, 0.1), Line(clips[0].path, 0.1, None), Line(clips[1].path)]
    for line in parts:
        file.add(line, "x")
    assert path.read_text().splitlines()[1:] == ["sounds/a.wav,0,0.1,x", "sounds/a.wav,0.1,,x", "sounds/b.wav,,,x"]
    assert set(opened(path, parts=True).labels) == {line.key for line in parts}


KEPT = (
    "path,label\nsounds/a.wav,dog\n",
    "path,label\nsounds/a.wav,dog",
    "path,label\r\nsounds/a.wav,dog\r\n",
    "\ufeffpath,label\nsounds/a.wav,dog\n\n",
    '"label";"note";"filename"\n"dog";"two\nlines";"sounds/a.wav"\n',
    'sep=;\nlabel;Speaker ID;path\r\ndog;me;"sounds/a.wav"\r\n',
    "label\tpath\tend\tstart\ndog\tsounds/a.wav\t0,2\t0,1\n",
)


@pytest.mark.parametrize("text", KEPT)
def test_what_is_in_a_file_stays_as_it_is(clips, tmp_path, text):
    path = tmp_path / "out.csv"
    path.write_bytes(text.encode())
    os.chmod(path, 0o640)
    file = opened(path)
    assert list(file.labels.values()) == ["dog"]
    before = file.record(clips[1].key)
    file.add(clips[1], "cat")
    now = path.read_bytes()
    assert now.startswith(text.encode()) and path.stat().st_mode & 0o777 == 0o640
    read = Manifest.read(path, allow_outside=True)
    assert read.labels == ["dog", "cat"] and read.audio_path(1).resolve() == clips[1].path.resolve()
    assert opened(path).labels[clips[1].key] == "cat"
    file.take_back(clips[1], before)
    assert path.read_bytes().rstrip(b"\r\n") == text.encode().rstrip(b"\r\n")


def test_the_empty_cell_of_a_clip_is_filled_in(clips, tmp_path):
    path = tmp_path / "pool.csv"
    text = 'path,note,label,group\nsounds/a.wav,"one, two",,g\nsounds/b.wav,,dog,g\r\n"sounds/deep/c, d.wav",,\n'
    path.write_bytes(text.encode())
    file = opened(path)
    assert list(file.labels.values()) == ["dog"]
    before = [file.record(line.key) for line in clips]
    file.add(clips[0], "cat")
    file.add(clips[2], "cow")
    assert path.read_bytes().decode() == (
        'path,note,label,group\nsounds/a.wav,"one, two",cat,g\nsounds/b.wav,,dog,g\r\n"sounds/deep/c, d.wav",,cow,\n'
    )
    file.take_back(clips[2], before[2])
    file.take_back(clips[0], before[0])
    assert path.read_bytes().decode() == text


def test_names_that_break_tables_are_quoted(tmp_path):
    write_sounds(tmp_path, 'a "b", c.wav', "new\nline.wav")
    path = tmp_path / "out.csv"
    file = opened(path, groups=False)
    for name, label in (('a "b", c.wav', 'x",y'), ("new\nline.wav", "<script>")):
        file.add(Line(tmp_path / name), label)
    read = Manifest.read(path)
    assert read.labels == ['x",y', "<script>"] and [read.audio_path(row).exists() for row in (0, 1)] == [True, True]
    assert len(opened(path).labels) == 2
    assert opened(path).last() == Line(tmp_path / "new\nline.wav").key


def test_what_another_program_changed_is_not_written_over(clips, tmp_path):
    path = tmp_path / "out.csv"
    file = opened(path)
    file.add(clips[0], "dog")
    path.write_text(path.read_text() + "sounds/b.wav,mine,\n")
    with pytest.raises(Changed, match="out.csv was changed by another program; nothing was written"):
        file.add(clips[2], "cat")
    with pytest.raises(Changed):
        file.take_back(clips[0], None)
    assert path.read_text().endswith("mine,\n") and list(file.labels.values()) == ["dog"]


def test_a_write_that_fails_leaves_all_labels_and_counts_none(clips, tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    file = opened(path)
    file.add(clips[0], "dog")
    text = path.read_text()
    monkeypatch.setattr(os, "replace", lambda *places: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(EmbcompError, match="No space left"):
        file.add(clips[1], "cat")
    monkeypatch.undo()
    assert path.read_text() == text and clips[1].key not in file.labels
    file.add(clips[1], "cat")
    assert list(opened(path).labels.values()) == ["dog", "cat"]


def test_a_link_stays_a_link(clips, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/out.csv").write_text("path,label\n")
    (tmp_path / "out.csv").symlink_to(tmp_path / "real/out.csv")
    opened(tmp_path / "out.csv", groups=False).add(clips[0], "dog")
    assert (tmp_path / "out.csv").is_symlink()
    assert Manifest.read(tmp_path / "real/out.csv", allow_outside=True).audio_path(0).exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("word,age\na,1\n", "has no column 'path'"),
        ("path\nsounds/a.wav\n", "has no column 'label'"),
        ("path,label\nsounds/a.wav,x\nsounds/a.wav,y\n", "the clip is named twice"),
    ],
)
def test_what_is_no_manifest_is_refused(clips, tmp_path, text, words):
    (tmp_path / "out.csv").write_text(text)
    with pytest.raises(ManifestError, match=words):
        opened(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == text


def test_columns_that_are_needed_are_asked_for(clips, tmp_path):
    (tmp_path / "out.csv").write_text("path,label\nsounds/a.wav,x\n")
    with pytest.raises(ManifestError, match="has no columns start and end"):
        opened(tmp_path / "out.csv", parts=True)
    with pytest.warns(EmbcompWarning, match="no column for the groups"):
        opened(tmp_path / "out.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ManifestError, match="it is a folder"):
        opened(tmp_path / "folder.csv")


def test_columns_that_are_there_twice_are_kept_or_refused_by_name(clips, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("note,path,label,note\nx,sounds/a.wav,,y\n")
    file = opened(path, groups=False)
    file.add(clips[0], "dog")
    file.add(clips[1], "cat")
    assert path.read_text() == "note,path,label,note\nx,sounds/a.wav,dog,y\n,sounds/b.wav,cat,\n"
    for content in ("path,label,label\n", "path,label,label\nsounds/a.wav,x,y\n"):
        path.write_text(content)
        with pytest.raises(ManifestError, match="has two columns 'label'; keep one"):
            opened(path, groups=False)


def test_a_name_with_a_zero_byte_is_a_clip_that_nobody_opens(tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"path,label\na\0.wav,dog\n")
    assert list(opened(path, groups=False).labels.values()) == ["dog"]
