"""Stores in shards: the same as one store, whatever is asked of them; joined by name, exchanged with Parquet files."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.errors import StoreError
from embcomp.storage import merging, texts
from embcomp.storage.arrays import RowFile
from embcomp.storage.merging import merge_stores
from embcomp.storage.ownership import kind_of
from embcomp.storage.places import path_of
from embcomp.storage.seen import Seen
from embcomp.storage.shards import PickedRows, ShardedRows
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.storage.taught import keep, kept
from embcomp.storage.texts import JoinedTexts, Lookup, Texts, write_lookup, write_texts
from embcomp.storage.vectors import content_key, open_vectors

WIDTH, COUNTS = 6, (7, 1, 12)
MADE = {"teacher": "t", "weights": "abc"}


def plain(folder, name, rows, ids, dtype="float32", **changed):
    return write_store(
        folder / name,
        ids,
        [f"h-{one}" for one in ids],
        rows.shape[1],
        {**MADE, **changed},
        lambda n: rows[n],
        dtype=dtype,
    )


@pytest.fixture(scope="module", params=["float32", "float16"])
def both(request, tmp_path_factory):
    """One store, and one in shards with the same rows."""
    folder = tmp_path_factory.mktemp("stores")
    rows = np.random.default_rng(0).standard_normal((sum(COUNTS), WIDTH)).astype(request.param).astype(np.float32)
    ids = [f"clips/{number}-ä.wav" for number in range(len(rows))]
    whole = plain(folder, "whole", rows, ids, request.param)
    paths = []
    for number, (count, start) in enumerate(zip(COUNTS, np.cumsum([0, *COUNTS]))):
        part = slice(start, start + count)
        paths.append(plain(folder, f"part{number}", rows[part], ids[part], request.param).path)
    return whole, merge_stores(paths, folder / "joined")


def test_a_store_in_shards_is_read_as_one(both, rng):
    whole, joined = both
    assert list(joined.ids) == list(whole.ids) and list(joined.hashes) == list(whole.hashes)
    assert len(joined) == len(whole) and joined.dim == whole.dim and joined.settings == whole.settings
    assert joined.data.shape == whole.data.shape and joined.data.dtype == whole.data.dtype
    np.testing.assert_array_equal(np.asarray(joined), np.asarray(whole))
    asked = [whole.ids[row] for row in rng.permutation(len(whole))[:9]]
    np.testing.assert_array_equal(joined.take(asked), whole.take(asked))
    np.testing.assert_array_equal(joined.rows(asked), whole.rows(asked))
    numbers = np.array([8, 0, 3, 3])
    np.testing.assert_array_equal(joined.reader(asked)(numbers), whole.reader(asked)(numbers))
    np.testing.assert_array_equal(joined.vectors(asked), whole.vectors(asked))
    assert joined.vectors(joined.ids) is joined.data and kind_of(joined.path) == "store"
    assert open_vectors(joined.path).ids[3] == whole.ids[3] and content_key(joined.path) != content_key(whole.path)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_blocks_and_rows_are_those_of_an_array(both, data):
    whole, joined = np.asarray(both[0].data), both[1].data
    limits = st.none() | st.integers(-25, 25)
    step = st.none() | st.sampled_from([1, 2, 5, -1, -3])
    key = slice(data.draw(limits), data.draw(limits), data.draw(step))
    np.testing.assert_array_equal(joined[key], whole[key])
    assert list(both[1].ids)[key] == both[1].ids[key]
    index = np.array(data.draw(st.lists(st.integers(-20, 19), max_size=12)), dtype=np.int64)
    np.testing.assert_array_equal(joined[index], whole[index])
    picked = PickedRows(joined, index % 20)
    np.testing.assert_array_equal(np.take(picked, np.arange(len(index)), axis=0), whole[index % 20])
    number = data.draw(st.integers(-20, 19))
    np.testing.assert_array_equal(joined[number], whole[number])
    assert both[1].ids[number] == both[0].ids[number]


def test_what_is_not_there_is_named(both):
    joined = both[1]
    with pytest.raises(StoreError, match="lacks 2 of 3 clips, 'x.wav' first"):
        joined.rows(["x.wav", joined.ids[2], "y.wav"])
    for wrong in (np.array([0, 20]), np.array([-21])):
        with pytest.raises(IndexError):
            joined.data[wrong]
    with pytest.raises(IndexError):
        joined.ids[20]


def test_few_shards_are_mapped_at_a_time(tmp_path):
    paths = []
    for number in range(9):
        paths.append(tmp_path / f"{number}.npy")
        np.save(paths[-1], np.full((3, 2), number, dtype=np.float32))
    rows = ShardedRows(paths, [3] * 9, 2, "float32")
    assert np.concatenate([rows[start : start + 4] for start in range(0, 27, 4)])[:, 0].tolist() == [
        number for number in range(9) for _ in range(3)
    ]
    assert len(rows._maps) == 2 and rows[26:99].shape == (1, 2) and rows[5:5].shape == (0, 2)


def test_neighbours_are_read_at_once(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.arange(400, dtype=np.float32).reshape(100, 4))
    file, reads = RowFile(tmp_path / "a.npy"), []
    monkeypatch.setattr(
        RowFile, "_read", lambda self, *given, own=RowFile._read: (reads.append(given[0]), own(self, *given))
    )
    asked = np.concatenate([np.arange(50, 90), np.arange(3, 20)])[::-1]
    np.testing.assert_array_equal(file.take(asked)[:, 0], 4 * asked)
    assert reads == [3, 50]
    asked = np.array([7, 7, 1, 90])
    np.testing.assert_array_equal(file.take(asked)[:, 0], 4 * asked)


@given(st.lists(st.text(max_size=6), max_size=30, unique=True), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_texts_and_their_rows_are_found_again(tmp_path_factory, words, middle):
    folder = tmp_path_factory.mktemp("texts")
    parts = [words[:middle], words[middle:]]
    for number, part in enumerate(parts):
        assert write_texts(folder / f"{number}", part) == len(part)
        write_lookup(folder / f"{number}.look.npy", part)
    joined = JoinedTexts([Texts(folder / str(number)) for number in range(2)])
    assert list(joined) == words and joined[::-1] == words[::-1] and len(joined) == len(words)
    for number, part in enumerate(parts):
        lookup = Lookup(folder / f"{number}.look.npy", Texts(folder / str(number)))
        assert lookup.find(words, texts.text_keys(words)).tolist() == [
            part.index(one) if one in part else -1 for one in words
        ]


def test_two_texts_of_one_key_are_not_confused(tmp_path):
    words = ["one", "two", "three"]
    write_texts(tmp_path / "t", words)
    same = np.zeros(3, dtype=np.uint64)
    write_lookup(tmp_path / "look.npy", words, key=lambda given: same)
    lookup = Lookup(tmp_path / "look.npy", Texts(tmp_path / "t"))
    assert lookup.find(["three", "four", "one"], same).tolist() == [2, -1, 0]


def test_stores_that_were_made_differently_are_not_joined(tmp_path, rng):
    rows = rng.standard_normal((3, 4)).astype(np.float32)
    first = plain(tmp_path, "first", rows, ["a", "b", "c"]).path
    others = {
        "weights: 'abc' and 'xyz'": plain(tmp_path, "w", rows, ["d", "e", "f"], weights="xyz"),
        "dimensions: 4 and 3": plain(tmp_path, "d", rows[:, :3], ["d", "e", "f"]),
        "dtype: 'float32' and 'float16'": plain(tmp_path, "t", rows, ["d", "e", "f"], "float16"),
    }
    for said, other in others.items():
        with pytest.raises(StoreError, match=said):
            merge_stores([first, other.path], tmp_path / "out")
    twice = plain(tmp_path, "twice", rows, ["d", "b", "f"])
    with pytest.raises(StoreError, match=r"1 id is there twice: 'b' in .*first and .*twice"):
        merge_stores([first, twice.path], tmp_path / "out")
    with pytest.raises(StoreError, match="'a' in"):
        merge_stores([first, first], tmp_path / "out")
    with pytest.raises(StoreError, match="no store"):
        merge_stores([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match="already exists"):
        merge_stores([first], tmp_path / "out")


def test_ids_twice_are_found_wherever_their_keys_are(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "SHOWN", 1000)
    ids = [str(number) for number in range(600)]
    for name, part in (("0", ids), ("1", ids[::-1])):
        merging.write_names(tmp_path / name, part, part)
    with pytest.raises(StoreError) as found:
        merging.refuse_twice(tmp_path, ["0", "1"], [tmp_path, tmp_path])
    assert str(found.value).startswith("600 ids") and all(f"{one!r} in" in str(found.value) for one in ids)


def test_joined_stores_are_joined_again_and_copies_need_no_other_folder(tmp_path, rng):
    rows = rng.standard_normal((9, 4)).astype(np.float32)
    parts = [plain(tmp_path, f"p{at}", rows[at : at + 3], list("abcdefghi"[at : at + 3])) for at in (0, 3, 6)]
    two = merge_stores([parts[0].path, parts[1].path], tmp_path / "two")
    meta = json.loads((two.path / "meta.json").read_text())
    assert [one["data"] for one in meta["shards"]] == ["../p0/data.npy", "../p3/data.npy"]
    keep(parts[2].path, Seen.of(["learned.wav"]))
    all_ = merge_stores([two.path, parts[2].path], tmp_path / "deep" / "all", copy=True)
    assert kept(two.path) is None and kept(all_.path).among(["learned.wav", "other.wav"]) == ["learned.wav"]
    for part in parts:
        (part.path / "data.npy").unlink()
    np.testing.assert_array_equal(np.asarray(all_), rows)
    np.testing.assert_array_equal(np.asarray(EmbeddingStore.open(tmp_path / "deep" / "all")), rows)
    with pytest.raises(StoreError, match="two is no whole store in shards.*p0"):
        EmbeddingStore.open(two.path)


@pytest.mark.parametrize("name", ["ids.bin", "ids.npy", "hashes.bin", "lookup.npy", "data.npy"])
def test_damage_is_said_in_words(name, tmp_path, rng):
    part = plain(tmp_path, "part", rng.standard_normal((5, 3)).astype(np.float32), list("abcde"))
    joined = merge_stores([part.path], tmp_path / "joined", copy=True)
    path = joined.path / "00000" / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match="no whole store in shards|do not fit together"):
        EmbeddingStore.open(joined.path)
    path.unlink()
    with pytest.raises(StoreError, match="no whole store in shards"):
        EmbeddingStore.open(joined.path)


def test_nothing_is_written_over_a_store_in_shards(both):
    joined = both[1]
    with pytest.raises(StoreError, match="holds 00000"):
        write_store(joined.path, ["a"], ["h"], WIDTH, MADE, lambda rows: np.zeros((1, WIDTH)))
    assert len(EmbeddingStore.open(joined.path)) == sum(COUNTS)


PACKAGES = {".parquet": "pyarrow", ".lance": "lance"}


@pytest.mark.parametrize("suffix", PACKAGES)
def test_tables_there_and_back(both, tmp_path, monkeypatch, suffix):
    pytest.importorskip(PACKAGES[suffix])
    from embcomp.storage import exchange, tables

    monkeypatch.setattr(exchange, "BLOCK", 3)
    monkeypatch.setattr(tables, "BLOCK", 4)
    whole, joined = both
    table, done = tmp_path / f"all{suffix}", []
    assert exchange.export_store(joined.path, table, done.append) == len(whole) == sum(done)
    assert os.listdir(tmp_path) == [table.name]
    back = exchange.import_tables([table], tmp_path / "back", per_shard=6)
    assert [len(part) for part in back.ids.parts] == [6, 6, 6, 2]
    assert list(back.ids) == list(whole.ids) and list(back.hashes) == list(whole.hashes)
    assert back.settings == whole.settings and back.data.dtype == whole.data.dtype
    np.testing.assert_array_equal(np.asarray(back), np.asarray(whole))
    with pytest.raises(StoreError, match="already exists"):
        exchange.export_store(joined.path, table)
    with pytest.raises(StoreError, match="already exists"):
        exchange.import_tables([table], tmp_path / "back")
    with pytest.raises(StoreError, match="20 ids are there twice"):
        exchange.import_tables([table] * 2, tmp_path / "twice")
    assert not (tmp_path / "twice").exists()
    if suffix == ".parquet":
        np.testing.assert_array_equal(open_vectors(table).take(whole.ids), whole.take(whole.ids))
    else:
        with pytest.raises(StoreError, match=r"all\.lance is a Lance table; make a store of it: embcomp store import"):
            open_vectors(table)


@pytest.mark.parametrize("suffix", PACKAGES)
def test_tables_of_others_are_imported_or_refused_by_name(tmp_path, suffix):
    package = pytest.importorskip(PACKAGES[suffix])
    from embcomp.storage.exchange import import_tables
    from embcomp.storage.parquet import import_pyarrow

    pyarrow = import_pyarrow()

    def table(name, **columns):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".lance":
            package.write_dataset(pyarrow.table(columns), str(path), mode="overwrite")
        else:
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path

    vectors = [[1.0, 2.0], [3.0, 4.0]]
    good = import_tables([table("a", path=["x", "y"], features=vectors)], tmp_path / "good", dtype="float16")
    assert list(good.ids) == ["x", "y"] and good.data.dtype == np.float16 and np.asarray(good).tolist() == vectors
    for columns, said in (
        ({"path": ["x", "y"]}, "needs a column of ids and one of lists"),
        ({"features": vectors}, "needs a column of ids"),
        ({"path": ["x", "y"], "features": [[1.0, 2.0], [3.0]]}, "differ in width"),
        ({"path": ["x", ""], "features": vectors}, "have no id"),
        ({"path": ["x", "y"], "features": [["a", "b"], ["c", "d"]]}, "no numbers"),
    ):
        with pytest.raises(StoreError, match=said):
            import_tables([table("bad", **columns)], tmp_path / "bad")
    (tmp_path / f"text{suffix}").write_text("no table")
    damaged = table("damaged", path=["x", "y"], features=vectors)
    for file in [damaged] if damaged.is_file() else (damaged / "_versions").iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    for path in (tmp_path / f"text{suffix}", tmp_path / f"none{suffix}", damaged):
        with pytest.raises(StoreError, match="cannot read"):
            import_tables([path], tmp_path / "bad")
    with pytest.raises(ValueError, match="NaN or infinite"):
        import_tables([table("nan", path=["x"], features=[[1.0, float("nan")]])], tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("as_named", [str, path_of])
def test_a_remote_store_is_joined_by_copying_it(tmp_path, monkeypatch, as_named):
    """The cache may drop what a reference would point to."""
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StoreError, match="memory://bucket/store is remote, .* join with --copy"):
        merge_stores([as_named("memory://bucket/store")], tmp_path / "out")


def test_files_of_texts_whose_content_is_damaged_are_refused_by_name(tmp_path):
    words = ["one", "zwö", "three"]

    def written():
        write_texts(tmp_path / "t", words)
        write_lookup(tmp_path / "look.npy", words)

    written()
    (tmp_path / "t.bin").write_bytes(b"onezw\xffxthree")
    with pytest.raises(StoreError, match=r"t\.bin is damaged .*make the store again"):
        list(Texts(tmp_path / "t"))
    for ends in ([3, 2, 12], [9, 7, 12], [-1, 7, 12]):
        np.save(tmp_path / "t.npy", np.array(ends, dtype=np.int64))
        with pytest.raises(StoreError, match=r"t\.npy is damaged, its ends do not rise"):
            list(Texts(tmp_path / "t"))
    written()
    table = np.load(tmp_path / "look.npy")
    table[1] = 3
    np.save(tmp_path / "look.npy", table)
    with pytest.raises(StoreError, match=r"look\.npy is damaged, it names row 3 of 3"):
        Lookup(tmp_path / "look.npy", Texts(tmp_path / "t")).find(["one"], texts.text_keys(["one"]))
