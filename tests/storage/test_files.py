"""Files that appear whole or not at all, and content keys."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.errors import ArtifactError, EmbcompError
from embcomp.storage import files
from embcomp.storage.files import file_hash, fingerprint, new_folder, read_json, write_json, write_text

JSON = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def shuffled(content):
    if isinstance(content, dict):
        return {key: shuffled(value) for key, value in reversed(content.items())}
    return [shuffled(part) for part in content] if isinstance(content, list) else content


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_a_fingerprint_forgets_the_order_of_keys_and_nothing_else(content):
    key = fingerprint(content)
    assert key == fingerprint(shuffled(content)) == fingerprint(json.loads(json.dumps(content)))
    assert key != fingerprint([content])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ("ab", ["a", "b"]),
        (0.1, 0.1 + 1.4e-17),
    ],
)
def test_a_fingerprint_tells_different_content_apart(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_refuses_nan():
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})


def test_a_file_hash_depends_on_the_bytes_alone(tmp_path):
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    third.write_bytes(b"samf")
    assert file_hash(first) == file_hash(second) != file_hash(third)
    assert len(file_hash(first)) == 16


def test_text_is_written_as_it_is_into_folders_that_did_not_exist(tmp_path):
    text = "ä\r\n\n漢\t"
    write_text(tmp_path / "a" / "b" / "c.txt", text)
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == text.encode()


def test_writing_leaves_no_other_file(tmp_path):
    write_text(tmp_path / "a.txt", "1")
    write_text(tmp_path / "a.txt", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "2"


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EmbcompError, match=r"cannot write .*a\.txt: No space left on device"):
        write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_text_that_utf8_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(EmbcompError, match="cannot write"):
        write_text(tmp_path / "a.txt", "\ud800")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/b.txt", "file/deep/b.txt", "a\0b"])
def test_writing_where_no_file_can_be_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbcompError, match="cannot write"):
        write_text(tmp_path / name, "x")
    assert (tmp_path / "file").read_text() == "in the way"


def test_json_comes_back_with_its_key_order(tmp_path):
    content = {"z": [1, 2.5, None, True], "a": {"ü": "\n"}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert list(read_json(tmp_path / "a.json")) == ["z", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b'{"a": 1', "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[" * 200_000, "damaged"),
        (b"9" * 5000, "damaged"),
        (None, "cannot read .*No such file"),
    ],
)
def test_json_that_is_damaged_or_missing_is_refused_by_name(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        read_json(tmp_path / "a.json")
    assert "a.json" in str(caught.value)


def test_json_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 10)
    (tmp_path / "a.json").write_text('"0123456789"')
    with pytest.raises(ArtifactError, match="larger than"):
        read_json(tmp_path / "a.json")


def test_a_new_folder_appears_only_at_the_end(tmp_path):
    with new_folder(tmp_path / "sub" / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text("a")
        assert not (tmp_path / "sub" / "out").exists()
    assert (tmp_path / "sub" / "out" / "deep" / "a.txt").read_text() == "a"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["out"]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    for name in ("first", "second"):
        with new_folder(tmp_path / "out", lambda there: None) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no")])
def test_a_block_that_raises_changes_nothing(tmp_path, stands, error):
    if stands:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old").write_text("old")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with (
        pytest.raises(type(error) if isinstance(error, Exception) else error),
        new_folder(tmp_path / "out", lambda there: None) as folder,
    ):
        (folder / "half").write_text("half")
        raise error
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_full_disk_inside_the_block_is_an_embcomp_error(tmp_path):
    with pytest.raises(EmbcompError, match="cannot write .*out: No space left"), new_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_that_name_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(EmbcompError, match="a file of that name is there"), new_folder(tmp_path / "out"):
        pytest.fail("the block must not start")
    assert (tmp_path / "out").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(EmbcompError, match="cannot create a folder beside"), new_folder(tmp_path / "file" / "out"):
        pytest.fail("the block must not start")


def test_the_folder_one_stands_in_can_be_named_by_a_dot(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(".", lambda there: None) as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "here" / "a.txt").read_text() == "a"


def test_a_folder_with_something_in_it_is_replaced_only_where_that_is_asked_for(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    with pytest.raises(EmbcompError, match="out holds other files; choose another name"), new_folder(tmp_path / "out"):
        raise AssertionError
    assert (tmp_path / "out/a").read_text() == "1"
