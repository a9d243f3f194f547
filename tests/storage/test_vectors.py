"""Vectors in people's own files: each form gives the same rows by the same ids, or says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embcomp.errors import StoreError
from embcomp.storage.store import write_store
from embcomp.storage.vectors import content_key, matched, open_vectors, vector_keys, wide

IDS = ["b", "a/c", "a"]
VECTORS = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
FORMS: dict[str, Callable[[Path], Path]] = {}


def form(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    FORMS[make.__name__] = make
    return make


@form
def store(folder):
    write_store(folder / "s", IDS, ["1", "2", "3"], 12, {}, lambda rows: VECTORS[rows])
    return folder / "s"


@form
def npy_and_lines(folder):
    np.save(folder / "v.npy", VECTORS)
    (folder / "v.ids.txt").write_text("\ufeff" + "\n".join(IDS), encoding="utf-8")
    return folder / "v.npy"


@form
def npy_and_array(folder):
    np.save(folder / "v.npy", VECTORS)
    np.save(folder / "v.ids.npy", np.array(IDS).astype("S"))
    return folder / "v.npy"


@form
def npz(folder):
    np.savez(folder / "v.npz", names=np.array(IDS), X=VECTORS, label=np.arange(3))
    return folder / "v.npz"


@form
def npz_by_clip(folder):
    np.savez(folder / "v.npz", **dict(zip(IDS, VECTORS)))
    return folder / "v.npz"


@form
def folder_of_files(folder):
    for name, row in zip(IDS, VECTORS):
        path = folder / "v" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, row)
    return folder / "v"


def table(folder, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    parquet.write_table(pyarrow.table(columns), folder / "v.parquet")
    return folder / "v.parquet"


@form
def parquet_of_lists(folder):
    return table(folder, id=IDS, embedding=VECTORS.tolist(), tags=["x", "y", "z"])


@form
def parquet_of_columns(folder):
    # Not in their order, beside other numbers.
    columns = {f"e{number}": VECTORS[:, number] for number in reversed(range(12))}
    return table(folder, clip=IDS, age=[1, 2, 3], seconds=[0.5, 1.5, 2.5], **columns)


@form
def parquet_nested(folder):
    rows = [{f"f{number}": float(value) for number, value in enumerate(row)} for row in VECTORS]
    return table(folder, path=IDS, embedding=rows)


@form
def csv(folder):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(VECTORS, columns=[f"x{number}" for number in range(12)])
    frame.insert(0, "id", IDS)
    frame.to_csv(folder / "v.csv", index=False)
    return folder / "v.csv"


@form
def hdf5(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "v.h5", "w") as file:
        file["embeddings"], file["ids"] = VECTORS, IDS
    return folder / "v.h5"


@form
def hdf5_by_clip(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "v.h5", "w") as file:
        for name, row in zip(["b", "c/a", "a"], VECTORS):
            file[name] = row
        file.move("c/a", "c/d")
    return folder / "v.h5"


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_vectors_by_their_ids(tmp_path, name):
    found = open_vectors(FORMS[name](tmp_path))
    ids = ["b", "c/d", "a"] if name == "hdf5_by_clip" else IDS
    assert sorted(found.ids) == sorted(ids) and found.dim == 12 and len(found) == 3
    np.testing.assert_allclose(found.take(ids), VECTORS, rtol=1e-6)
    assert len(set(found.hashes)) == 3
    if name not in ("store", "csv"):
        assert [found.hashes[row] for row in found.rows(ids)] == vector_keys(VECTORS)


@pytest.mark.parametrize("name", FORMS)
def test_the_key_of_the_content_changes_with_a_number(tmp_path, name, monkeypatch):
    (tmp_path / "1").mkdir(), (tmp_path / "2").mkdir()
    before = content_key(FORMS[name](tmp_path / "1"))
    other = VECTORS.copy()
    other[1, 3] += 1
    monkeypatch.setitem(globals(), "VECTORS", other)
    assert content_key(FORMS[name](tmp_path / "2")) != before


def test_without_ids_rows_take_those_given_or_their_numbers(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS)
    assert open_vectors(tmp_path / "v.npy", IDS).ids == IDS
    assert open_vectors(tmp_path / "v.npy").ids == ["0", "1", "2"]
    with pytest.raises(StoreError, match="holds 3 rows, the manifest 2; put the ids in v.ids.txt"):
        open_vectors(tmp_path / "v.npy", ["x", "y"])


def test_vectors_over_time_are_averaged_unless_asked_for(tmp_path):
    np.savez(tmp_path / "v.npz", ids=np.array(IDS), embeddings=VECTORS.reshape(3, 4, 3))
    nested = table(tmp_path, id=IDS, embedding=VECTORS.reshape(3, 4, 3).tolist())
    for path in (tmp_path / "v.npz", nested):
        found = open_vectors(path)
        assert (found.frames, found.dim) == (4, 3)
        np.testing.assert_allclose(found.take(["a"]), VECTORS[2].reshape(1, 4, 3).mean(1), rtol=1e-5)
        assert found.take(["a"], over_time=True).shape == (1, 4, 3)


def test_files_of_a_folder_are_found_by_the_names_of_the_audio(tmp_path):
    found = matched(open_vectors(folder_of_files(tmp_path)), ["b.wav", "a/c.wav", "a"])
    np.testing.assert_array_equal(found.take(["a/c.wav", "b.wav"]), VECTORS[[1, 0]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: np.savez(path, ids=np.array(["a", "b", "a"]), embeddings=VECTORS), "'a' in rows 0, 2"),
        (lambda path: np.savez(path, ids=np.array(["a", "b"]), embeddings=VECTORS), r"\(3, 12\) do not fit 2 ids"),
        (lambda path: np.savez(path, one=VECTORS, two=VECTORS[:2]), "lacks 'embeddings'.*found one, two"),
        (lambda path: np.savez(path, embeddings=VECTORS.astype("U8")), "lacks 'embeddings'"),
        (lambda path: np.savez(path, embeddings=VECTORS[:, :0], ids=np.array(IDS)), "vectors have the shape"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, make, message):
    make(tmp_path / "v.npz")
    with pytest.raises(StoreError, match=message):
        open_vectors(tmp_path / "v.npz")


def test_files_of_different_shapes_are_refused_by_name(tmp_path):
    folder = folder_of_files(tmp_path)
    np.save(folder / "z.npy", np.zeros(5))
    with pytest.raises(StoreError, match=r"z.npy has the shape \(5,\)"):
        open_vectors(folder)


def test_a_vector_has_the_columns_of_one_name_in_their_order_else_those_with_fractions():
    assert wide({"e2": [1], "e0": [1], "age": [3.5], "e1": [1]}) == ["e0", "e1", "e2"]
    assert wide({"loud": [0.5], "age": [3], "flat": [1.5]}) == ["loud", "flat"]


def wide_table(folder, form, **changed):
    """A table of three columns of numbers, one cell of which may be something else."""
    pandas = pytest.importorskip("pandas")
    rows = VECTORS[:, :3].astype(object)
    for place, value in changed.items():
        rows[1, int(place[1:])] = value
    table = pandas.DataFrame({"id": IDS, **{f"e{number}": rows[:, number] for number in range(3)}})
    path = folder / f"v.{form}"
    if form == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("form", "value"), [("csv", "n/a?"), ("csv", "1.2.3"), ("parquet", None)])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_column_with_something_else_than_numbers_is_refused_and_not_left_out(tmp_path, form, value, column):
    path = wide_table(tmp_path, form, **{f"e{column}": value})
    with pytest.raises(StoreError, match=rf"row 1 .* has {re.escape(repr(value))} for a number in 'e{column}'"):
        open_vectors(path)


@pytest.mark.parametrize(
    ("name", "separator", "decimal"),
    [("v.csv", ";", ","), ("v.csv", ";", "."), ("v.tsv", "\t", "."), ("v.tsv", "\t", ","), ("v.csv", "\t", ".")],
)
def test_tables_of_other_countries(tmp_path, name, separator, decimal):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": IDS, **{f"e{number}": VECTORS[:, number] for number in range(3)}})
    table.to_csv(tmp_path / name, index=False, sep=separator, decimal=decimal, encoding="utf-8-sig")
    found = open_vectors(tmp_path / name)
    assert found.ids == IDS
    np.testing.assert_allclose(found.data, VECTORS[:, :3], rtol=1e-6)
