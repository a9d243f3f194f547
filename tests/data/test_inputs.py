"""Tables and images by id: each number in its place, or refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from embcomp.data.inputs import InputSpec, kind_of_inputs, read_inputs, usable_rows
from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompWarning, StoreError
from embcomp.storage.store import write_store

IDS = [f"r{number}" for number in range(5)]
VALUES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
TABLE = pd.DataFrame(VALUES, columns=["a", "b", "c"]).assign(id=IDS)


def table(path, content=TABLE, **options):
    content.to_csv(path, index=False, **options)
    return read_inputs("table", path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_gives_its_numbers_whatever_parts_them(tmp_path, separator):
    rows = table(tmp_path / "t.csv", TABLE.sample(frac=1, random_state=1), sep=separator)
    np.testing.assert_allclose(rows.take(IDS)[:, :, 0], VALUES, rtol=1e-6)
    assert rows.spec == InputSpec("table", (3, 1), ("a", "b", "c"))


def test_a_decimal_comma_is_read_where_it_parts_no_columns(tmp_path):
    assert table(tmp_path / "t.csv", TABLE, sep=";", decimal=",").take(["r0"])[0, 1, 0] == pytest.approx(VALUES[0, 1])


def test_csv_parquet_and_arrays_agree(tmp_path):
    pytest.importorskip("pyarrow")
    TABLE.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", ids=np.array(IDS), x=VALUES)
    np.save(tmp_path / "t.npy", VALUES)
    found = [read_inputs("table", tmp_path / f"t.{kind}", IDS) for kind in ("parquet", "npz", "npy")]
    for rows in (table(tmp_path / "t.csv"), *found):
        np.testing.assert_allclose(rows.take(IDS[::-1])[:, :, 0], VALUES[::-1], rtol=1e-6)
    assert found[0].spec.columns == ("a", "b", "c") and found[1].spec.columns == ("0", "1", "2")


def test_a_column_that_may_hold_the_answer_is_not_shown(tmp_path):
    with pytest.warns(
        EmbcompWarning, match=r"label, Speaker ID \(by their names.*word.*note \(no numbers\)|label, Speaker"
    ):
        rows = table(tmp_path / "t.csv", TABLE.assign(label=1, **{"Speaker ID": 2}, note="x"))
    assert rows.spec.columns == ("a", "b", "c")
    named = read_inputs("table", tmp_path / "t.csv", columns=["c", "label"])
    assert named.take(["r4"])[0, :, 0].tolist() == [pytest.approx(VALUES[4, 2]), 1.0]


def test_true_and_false_are_numbers_and_an_empty_cell_is_a_bad_row(tmp_path):
    content = TABLE.assign(flag=[True, False, True, True, False])
    content.loc[2, "b"] = np.nan
    rows = table(tmp_path / "t.csv", content)
    assert rows.take(IDS)[:, 3, 0].tolist() == [1, 0, 1, 1, 0]
    (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in IDS))
    manifest = Manifest.read(tmp_path / "m.csv")
    with pytest.raises(StoreError, match="row 4: r2: column 'b' of t.csv is empty"):
        usable_rows(manifest, rows, skip_bad=False)
    usable, bad = usable_rows(manifest, rows, skip_bad=True)
    assert usable.ids == ["r0", "r1", "r3", "r4"] and [clip.row for clip in bad] == [4]


@pytest.mark.parametrize("images", [np.arange(60).reshape(5, 4, 3), np.arange(60).reshape(5, 1, 4, 3).astype("uint8")])
def test_images_have_one_channel_or_say_how_many(tmp_path, images):
    np.savez(tmp_path / "i.npz", ids=np.array(IDS), images=images)
    rows = read_inputs("images", tmp_path / "i.npz")
    assert rows.spec.shape == (1, 4, 3) and rows.take(["r1"]).ravel().tolist() == list(range(12, 24))


def test_a_key_is_of_the_content_and_of_its_shape(tmp_path):
    for name, shape in (("wide", (5, 2, 6)), ("tall", (5, 6, 2))):
        np.save(tmp_path / f"{name}.npy", np.tile(np.arange(12), 5).reshape(shape))
    wide, tall = (read_inputs("images", tmp_path / f"{name}.npy", IDS).keys(IDS) for name in ("wide", "tall"))
    assert len({*wide}) == 1 and len({*wide, *tall}) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["r0", "r0", "r2", "r3", "r4"]}, "occurs more than once: 'r0'"),
        ({"id": ["r0", "", "r2", "r3", "r4"]}, "1 of 5 rows ha"),
    ],
)
def test_wrong_ids_are_refused(tmp_path, change, message):
    with pytest.raises(StoreError, match=message):
        table(tmp_path / "t.csv", TABLE.assign(**change))


@pytest.mark.parametrize(
    ("kind", "columns", "message"),
    [
        ("table", ["d"], "has no column 'd'"),
        ("table", ["note"], "'note' holds 'x'"),
        ("images", [], "images come as .npy"),
    ],
)
def test_what_cannot_be_shown_is_named(tmp_path, kind, columns, message):
    TABLE.assign(note="x").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(StoreError, match=message):
        read_inputs(kind, tmp_path / "t.csv", columns=columns)


def test_other_misuse_of_files(tmp_path):
    with pytest.raises(StoreError, match="no table at"):
        read_inputs("table", tmp_path / "none.csv")
    TABLE.drop(columns="id").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(StoreError, match="no column 'id'"):
        read_inputs("table", tmp_path / "t.csv")
    (tmp_path / "words.csv").write_text("id,a\nr0,x\n")
    with pytest.raises(StoreError, match="no column of numbers beside 'id'"):
        read_inputs("table", tmp_path / "words.csv")
    np.save(tmp_path / "last.npy", np.zeros((5, 8, 8, 3)))
    with pytest.raises(StoreError, match=r"np.moveaxis\(images, -1, 1\)"):
        read_inputs("images", tmp_path / "last.npy")
    np.save(tmp_path / "flat.npy", np.zeros((4, 3)))
    with pytest.raises(StoreError, match="4 rows, the manifest 5; put the ids in flat.ids.txt"):
        read_inputs("table", tmp_path / "flat.npy", IDS)
    with pytest.raises(StoreError, match=r"not \(4, 3\)"):
        read_inputs("images", tmp_path / "flat.npy", IDS[:4])
    with pytest.raises(StoreError, match="lacks 1 of 2 rows, 'x' first"):
        read_inputs("table", tmp_path / "flat.npy", IDS[:4]).take(["r0", "x"])


def test_a_store_may_be_what_students_see(tmp_path):
    write_store(tmp_path / "s", IDS, [f"h{name}" for name in IDS], 3, {}, lambda rows: VALUES[rows])
    rows = read_inputs("table", tmp_path / "s")
    assert rows.spec == InputSpec("table", (3, 1), ("0", "1", "2")) and kind_of_inputs(tmp_path / "s") == "table"
    np.testing.assert_array_equal(rows.take(IDS[::-1])[:, :, 0], VALUES[::-1])
    with pytest.raises(StoreError, match="the columns of an array are called 0 to 2"):
        read_inputs("table", tmp_path / "s", columns=["3"])
    assert read_inputs("table", tmp_path / "s", columns=["2"]).take(["r1"]).item() == VALUES[1, 2]
