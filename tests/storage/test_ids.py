"""Ids in every file that holds some: each once, whatever they are kept as; what is missing or twice is named."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.data.manifest import Manifest
from embcomp.errors import StoreError
from embcomp.storage.ids import clean_ids, read_ids, spelled_otherwise
from embcomp.storage.pickled import texts_of
from embcomp.teachers import StoredTeacher

VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)
NAMES = ["a.wav", "b.wav", "sub/c.wav"]


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in NAMES))
    return Manifest.read(tmp_path / "m.csv")


def npz(path, ids):
    np.savez(path, ids=ids, embeddings=VECTORS[: len(ids)])
    return path


HELD = {
    "text": np.array(NAMES),
    "bytes, as h5py gives them": np.array(NAMES, "S"),
    "objects, as a table's column gives them": np.array(NAMES, object),
    "objects that are bytes": np.array([name.encode() for name in NAMES], object),
    "a column": np.array(NAMES)[:, None],
    "a column of objects": np.array(NAMES, object)[:, None],
    "behind a byte order mark": np.array(["\ufeff" + NAMES[0], *NAMES[1:]]),
    "with backslashes": np.array([name.replace("/", "\\") for name in NAMES]),
    "from the folder they lie in": np.array([f"./{name}" for name in NAMES]),
    "with blanks around": np.array([f" {name} " for name in NAMES]),
}


@pytest.mark.parametrize("kind", HELD)
def test_ids_of_an_npz_are_read(manifest, tmp_path, kind):
    found = StoredTeacher(npz(tmp_path / "e.npz", HELD[kind]), manifest)
    np.testing.assert_array_equal(found.rows(NAMES[::-1]), VECTORS[::-1])


TEXTS = {
    "plain": "a.wav\nb.wav\nsub/c.wav\n",
    "no last line end": "a.wav\nb.wav\nsub/c.wav",
    "blank lines at the end": "a.wav\nb.wav\nsub/c.wav\n\n \n",
    "byte order mark": "\ufeffa.wav\nb.wav\nsub/c.wav\n",
    "Windows": "\ufeffa.wav\r\nb.wav\r\nsub\\c.wav\r\n\r\n",
    "old Mac": "a.wav\rb.wav\rsub/c.wav\r",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_ids_beside_an_npy_are_read(manifest, tmp_path, kind):
    np.save(tmp_path / "e.npy", VECTORS)
    (tmp_path / "e.ids.txt").write_bytes(TEXTS[kind].encode())
    np.testing.assert_array_equal(StoredTeacher(tmp_path / "e.npy", manifest).rows(NAMES), VECTORS)


def test_line_marks_inside_names_part_no_ids(tmp_path):
    (tmp_path / "ids.txt").write_text("a\x0bb\nc\u2028d\ne\x85f\n", encoding="utf-8")
    assert read_ids(tmp_path / "ids.txt") == ["a\x0bb", "c\u2028d", "e\x85f"]


def test_the_order_of_the_ids_is_part_of_the_key(manifest, tmp_path):
    np.save(tmp_path / "e.npy", VECTORS)
    keys = set()
    for order in (NAMES, NAMES[::-1]):
        (tmp_path / "e.ids.txt").write_text("\n".join(order))
        keys.add(StoredTeacher(tmp_path / "e.npy", manifest).fingerprint())
    assert len(keys) == 2


@pytest.mark.parametrize("how", ["npz", "npz of objects", "npy", "parquet", "csv", "h5"])
def test_ids_that_stand_twice_are_refused_by_name_and_row(manifest, tmp_path, how):
    twice = ["a.wav", "b.wav", "a.wav"]
    path = tmp_path / f"e.{how.split()[0]}"
    if how == "npy":
        np.save(path, VECTORS)
        (tmp_path / "e.ids.txt").write_text("\n".join(twice))
    elif how == "parquet":
        pytest.importorskip("pyarrow")
        pd.DataFrame({"id": twice, "embedding": list(VECTORS)}).to_parquet(path)
    elif how == "csv":
        pd.DataFrame({"id": twice, "e0": VECTORS[:, 0], "e1": VECTORS[:, 1]}).to_csv(path, index=False)
    elif how == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["ids"], file["embeddings"] = np.array(twice, "S"), VECTORS
    else:
        npz(path, np.array(twice, object if "objects" in how else str))
    with pytest.raises(
        StoreError, match=r"e\.\S+: 1 id occurs more than once: 'a.wav' in rows 0, 2. Keep one row of each"
    ):
        StoredTeacher(path, manifest)


@pytest.mark.parametrize("gap", ["", " ", "nan", None])
def test_ids_that_are_missing_are_refused_by_row(tmp_path, gap):
    with pytest.raises(StoreError, match="x: 1 of 3 rows have no id: row 1"):
        clean_ids(["a", gap, "c"], "x")


FORMS = {form: unicodedata.normalize(form, "Grünfink.wav") for form in ("NFC", "NFD")}


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_letters_in_another_form_of_unicode_are_the_same_id(tmp_path, form, as_folder):
    other = FORMS["NFD" if form == "NFC" else "NFC"]
    (tmp_path / "m.csv").write_text(f"path,label\n{other},x\nb.wav,y\n", encoding="utf-8")
    if as_folder:
        (tmp_path / "e").mkdir()
        np.save(tmp_path / "e" / FORMS[form].replace(".wav", ".npy"), VECTORS[0])
        np.save(tmp_path / "e/b.npy", VECTORS[1])
        path = tmp_path / "e"
    else:
        path = npz(tmp_path / "e.npz", np.array([FORMS[form], "b.wav"]))
    known = Manifest.read(tmp_path / "m.csv")
    np.testing.assert_array_equal(StoredTeacher(path, known).rows(known.ids), VECTORS[:2])


def test_ids_that_differ_in_spelling_alone_are_taken_as_written_or_not_at_all():
    both = {FORMS["NFC"]: 0, FORMS["NFD"]: 1, "x/a": 2}
    assert spelled_otherwise(both, [FORMS["NFD"], "./x/a"]) == {"./x/a": 2}
    assert spelled_otherwise(both, [f" {FORMS['NFC']}"]) == {}


def test_two_files_of_a_folder_for_one_clip_are_refused(tmp_path, manifest):
    for name, row in zip(("a.npy", "a.wav.npy", "b.npy"), VECTORS):
        (tmp_path / "e").mkdir(exist_ok=True)
        np.save(tmp_path / "e" / name, row)
    with pytest.raises(StoreError, match="1 id occurs more than once: 'a.wav' in rows 0, 1"):
        StoredTeacher(tmp_path / "e", manifest)


def test_bytes_in_parquet_are_text(manifest, tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"id": [name.encode() for name in NAMES], "embedding": list(VECTORS)})
    table.to_parquet(tmp_path / "e.parquet")
    np.testing.assert_array_equal(StoredTeacher(tmp_path / "e.parquet", manifest).rows(NAMES), VECTORS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "e.npy",
            b"version https://git-lfs.github.com/spec/v1\n",
            "e.npy holds no embeddings: it is a Git LFS pointer",
        ),
        ("e.parquet", b"<!doctype html>", "holds no embeddings: it is a web page"),
        (
            "e.ids.txt",
            b"version https://git-lfs.github.com/spec/v1\n",
            "e.ids.txt holds no ids: it is a Git LFS pointer",
        ),
        ("e.ids.txt", "Straße\nb\nc\n".encode("cp1252"), "e.ids.txt is not UTF-8 .* iconv -f cp1252"),
        ("e.ids.txt", "a\nb\nc\n".encode("utf-16"), "e.ids.txt is not UTF-8 .* but UTF-16; .* iconv -f utf-16"),
    ],
)
def test_files_that_are_something_else_are_named_with_the_mend(manifest, tmp_path, name, content, message):
    np.save(tmp_path / "e.npy", VECTORS)
    (tmp_path / name).write_bytes(content)
    path = tmp_path / ("e.npy" if name.endswith(".txt") else name)
    with pytest.raises(StoreError, match=message):
        StoredTeacher(path, manifest)


def test_what_a_missing_id_may_be_called_instead_is_shown(manifest, tmp_path):
    path = npz(tmp_path / "e.npz", np.array(["/data/a.wav", "/data/b.wav"]))
    with pytest.raises(StoreError, match=r"lacks 3 of 3 clips, 'a.wav' first; it holds '/data/a.wav', say"):
        StoredTeacher(path, manifest).rows(NAMES)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize(
    "objects",
    [[Evil(), "b"], ["a", None], ["a", 1.5], [["a"], "b"], [{"a": 1}, "b"]],
    ids=["call", "none", "float", "list", "dict"],
)
def test_objects_that_are_no_texts_are_refused_and_nothing_is_run(manifest, tmp_path, monkeypatch, objects):
    monkeypatch.chdir(tmp_path)
    array = np.empty(len(objects), object)
    array[:] = objects
    np.savez(tmp_path / "e.npz", ids=array, embeddings=VECTORS[:2])
    with pytest.raises(StoreError, match=r"its ids are Python objects and not texts .* np\.savez\(file, ids=np\.array"):
        StoredTeacher(tmp_path / "e.npz", manifest)
    assert not (tmp_path / "evil").exists()


def pickled(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    file.seek(0)
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.read()


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=5), st.integers(-(2**70), 2**70)), max_size=30), st.data())
def test_pickled_texts_come_back_and_damaged_ones_are_a_value_error(values, data):
    array = np.empty(len(values), object)
    array[:] = values
    content = pickled(array)
    assert texts_of(content) == values
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = content[:place] + data.draw(st.binary(min_size=1, max_size=3)) + content[place + 1 :]
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, UnicodeDecodeError):
        texts_of(damaged)


def test_other_versions_of_pickle_are_read(tmp_path):
    script = """
import numpy as np, pickle, sys
for protocol in range(6):
    sys.stdout.buffer.write(b"%d:" % protocol + pickle.dumps(np.array(["a", "\\xfc", "a"], object), protocol).hex().encode() + b"\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for line in done.stdout.split():
        protocol, content = line.split(":")
        if int(protocol):  # the oldest writes numbers as text in ways of its own
            assert texts_of(bytes.fromhex(content)) == ["a", "\xfc", "a"], protocol


def test_an_archive_that_promises_more_than_it_holds_is_refused(manifest, tmp_path):
    np.savez(tmp_path / "e.npz", ids=np.array(NAMES, object), embeddings=VECTORS)
    with zipfile.ZipFile(tmp_path / "e.npz") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["embeddings.npy"] = parts["embeddings.npy"].replace(b"(3, 2)", b"(9, 9)")
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(StoreError, match="does not hold the"):
        StoredTeacher(tmp_path / "e.npz", manifest)
