"""Stores: written once, resumed, checked, and never reused for something else."""

from __future__ import annotations

import multiprocessing
import shutil

import numpy as np
import pytest
from helpers.stores import HASHES, IDS, SETTINGS, VECTORS, Producer, write

from embcomp.errors import ArtifactError, DataError, EmbcompError, StoreError
from embcomp.storage.arrays import scratch_rows
from embcomp.storage.store import EmbeddingStore, check_settings, write_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_what_was_written_is_read(path, dtype, batch_size):
    found = write(path, dtype=dtype, batch_size=batch_size)
    assert (found.ids, found.hashes, found.settings) == (IDS, HASHES, SETTINGS)
    assert (len(found), found.dim, found.data.dtype) == (10, 3, dtype)
    assert np.array_equal(found.data, VECTORS.astype(dtype))
    again = EmbeddingStore.open(path)
    assert np.array_equal(again.data, found.data) and again.ids == IDS
    assert found.take(IDS).dtype == np.float32


def test_a_finished_store_is_three_files_and_nothing_beside_it(path):
    write(path)
    assert sorted(file.name for file in path.iterdir()) == ["data.npy", "index.csv", "meta.json"]
    assert [file.name for file in path.parent.iterdir()] == ["store"]
    assert np.load(path / "data.npy").flags.c_contiguous


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    write(path, batch_size=3)
    write(tmp_path / "other", batch_size=7)
    for name in ("data.npy", "index.csv", "meta.json"):
        assert (path / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_rows_are_taken_by_id_in_any_order_and_more_than_once(path):
    found = write(path)
    wanted = [IDS[7], IDS[0], IDS[7]]
    assert found.rows(iter(wanted)).tolist() == [7, 0, 7]
    assert np.array_equal(found.take(wanted), VECTORS[[7, 0, 7]])
    assert found.take([]).shape == (0, 3)
    assert np.array_equal(np.asarray(found), VECTORS)


def test_clips_that_are_not_there_are_counted_and_the_first_named(path):
    with pytest.raises(StoreError, match=r"lacks 2 of 3 clips, 'x\.wav' first"):
        write(path).take([IDS[0], "x.wav", "y.wav"])


def test_the_data_cannot_be_written_to(path):
    with pytest.raises(ValueError, match="read-only"):
        write(path).data[0] = 0


@pytest.mark.parametrize(
    "name", ['a "b", c.wav', "ä/漢 🐕.wav", "a\nb.wav", "a\r\nb.wav", " a ", "", "'", "a#0-1.5", "=1+1"]
)
def test_odd_ids_come_back(path, name):
    found = write(path, ids=[name, *IDS[1:]])
    assert found.ids[0] == name
    assert found.take([name])[0].tolist() == VECTORS[0].tolist()


def test_an_empty_store_is_a_store(path):
    found = write(path, ids=[], hashes=[])
    assert len(found) == 0 and found.data.shape == (0, 3)


def test_a_finished_store_is_returned_as_it_stands(path):
    write(path)
    stamp = (path / "data.npy").stat().st_mtime_ns
    produce, seen = Producer(), []
    write(path, produce, progress=seen.append)
    assert produce.asked == [] and sum(seen) == 10
    assert (path / "data.npy").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("fail_at", range(10))
def test_after_an_interruption_only_the_missing_rows_are_made(path, fail_at):
    first, second, seen = Producer(fail_at=fail_at), Producer(), []
    with pytest.raises(RuntimeError, match="the power went"):
        write(path, first)
    assert not path.exists()
    found = write(path, second, progress=seen.append)
    assert first.asked + second.asked == list(range(10))
    assert len(first.asked) == fail_at // 3 * 3
    assert np.array_equal(found.data, VECTORS) and sum(seen) == 10
    assert [file.name for file in path.parent.iterdir()] == ["store"]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"teacher": "other"}},
        {"dim": 2},
        {"dtype": "float16"},
        {"hashes": ["new", *HASHES[1:]]},
        {"ids": ["new", *IDS[1:]]},
    ],
    ids=str,
)
def test_what_an_interrupted_call_left_is_not_used_for_something_else(path, change):
    with pytest.raises(RuntimeError):
        write(path, Producer(fail_at=8))
    produce = Producer(VECTORS[:, : change.get("dim", 3)])
    found = write(path, produce, **change)
    assert produce.asked == list(range(10))
    assert np.array_equal(found.data, produce.vectors.astype(found.data.dtype))


@pytest.mark.parametrize("damage", ["plan.json", "data.npy", "done.npy", "text"])
def test_damaged_remains_are_started_afresh(path, damage):
    with pytest.raises(RuntimeError):
        write(path, Producer(fail_at=8))
    partial = path.with_name(".store.partial")
    if damage == "text":
        shutil.rmtree(partial)
        partial.write_text("in the way")
    else:
        (partial / damage).write_bytes((partial / damage).read_bytes()[:20])
    produce = Producer()
    if damage == "text":
        with pytest.raises(EmbcompError, match="cannot write a store"):
            write(path, produce)
    else:
        assert np.array_equal(write(path, produce).data, VECTORS)
        assert produce.asked == list(range(10))


def test_a_changed_hash_makes_exactly_that_row_again(path):
    write(path)
    produce = Producer(VECTORS + 1)
    found = write(path, produce, hashes=[*HASHES[:4], "changed", *HASHES[5:]])
    assert produce.asked == [4]
    assert np.array_equal(found.data[4], VECTORS[4] + 1)
    others = [row for row in range(10) if row != 4]
    assert np.array_equal(found.data[others], VECTORS[others])
    assert found.hashes[4] == "changed"


def test_clips_may_be_added_dropped_and_reordered_without_making_the_others_again(path):
    write(path, ids=IDS[:6], hashes=HASHES[:6])
    order = [9, 2, 7, 0, 5]
    produce = Producer(VECTORS[order])
    found = write(path, produce, ids=[IDS[row] for row in order], hashes=[HASHES[row] for row in order])
    assert produce.asked == [0, 2]
    assert np.array_equal(found.data, VECTORS[order])


def test_a_failing_update_leaves_the_old_store(path):
    write(path)
    with pytest.raises(RuntimeError):
        write(path, Producer(fail_at=4), hashes=["x"] * 10)
    assert EmbeddingStore.open(path).hashes == HASHES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {**SETTINGS, "teacher": "yamnet"}}, "teacher: there 'kmeans', asked 'yamnet'"),
        ({"settings": {"teacher": "kmeans"}}, "audio: there {'rate': 16000}, asked None"),
        ({"settings": {**SETTINGS, "layer": 3}}, "layer: there None, asked 3"),
        (
            {"settings": {"audio": {"rate": 8000}}},
            "audio: there .* asked {'rate': 8000}; teacher: there 'kmeans', asked None",
        ),
        ({"dim": 4}, "dim: there 3, asked 4"),
        ({"dtype": "float16"}, "dtype: there 'float32', asked 'float16'"),
    ],
)
def test_a_store_of_other_settings_is_refused_by_name_and_left_alone(path, change, message):
    write(path)
    before = (path / "data.npy").read_bytes()
    with pytest.raises(StoreError, match=f"was made with other settings .*{message}") as caught:
        write(path, **change)
    assert str(path) in str(caught.value)
    assert (path / "data.npy").read_bytes() == before


def test_equal_settings_pass_whatever_their_order():
    assert check_settings("s", {"a": 1, "b": [2]}, {"b": [2], "a": 1}) is None


def test_settings_are_compared_as_they_are_read_back(path):
    content = {"layers": (1, 2), "rates": {16_000: "high"}}
    with pytest.raises(RuntimeError):
        write(path, Producer(fail_at=9), settings=content)
    produce = Producer()
    write(path, produce, settings=content)
    assert produce.asked == [9]
    write(path, Producer(fail_at=0), settings=content)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_by_id(path, value):
    vectors = VECTORS.copy()
    vectors[[4, 5], 1] = value
    with pytest.raises(DataError, match=r"2 vectors are NaN or infinite \(in float32\), that of 'clip4\.wav' first"):
        write(path, Producer(vectors))
    assert not path.exists()
    produce = Producer()
    assert np.array_equal(write(path, produce).data, VECTORS)
    assert produce.asked == list(range(3, 10))


def test_a_value_too_large_for_half_precision_is_refused_by_id(path):
    vectors = VECTORS.copy()
    vectors[7, 0] = 70_000
    with pytest.raises(DataError, match=r"1 vector is NaN or infinite \(in float16\), that of 'clip7\.wav'"):
        write(path, Producer(vectors), dtype="float16")
    assert write(path, Producer(vectors)).data[7, 0] == 70_000


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (9,), (3, 3, 1), ()], ids=str)
def test_vectors_of_another_shape_are_refused(path, shape):
    with pytest.raises(DataError, match=r"expected vectors of shape \(3, 3\), got \("):
        write(path, lambda rows: np.zeros(shape))


def test_ids_named_twice_are_refused(path):
    with pytest.raises(DataError, match="must be unique"):
        write(path, ids=[IDS[0], *IDS[:9]])


def hold(path, started, finish):
    def produce(rows):
        started.set()
        finish.wait(30)
        return VECTORS[rows]

    write(path, produce)


def test_of_two_writers_the_second_is_refused_and_the_first_finishes(path):
    context = multiprocessing.get_context("fork")
    started, finish = context.Event(), context.Event()
    first = context.Process(target=hold, args=(path, started, finish))
    first.start()
    try:
        assert started.wait(30)
        with pytest.raises(StoreError, match="another process is writing .*store; wait for it to end"):
            write(path)
    finally:
        finish.set()
        first.join(30)
    assert first.exitcode == 0
    assert np.array_equal(EmbeddingStore.open(path).data, VECTORS)


def test_a_writer_that_was_killed_does_not_keep_others_out(path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    first = context.Process(target=hold, args=(path, started, context.Event()))
    first.start()
    assert started.wait(30)
    first.kill()
    first.join(30)
    assert np.array_equal(write(path).data, VECTORS)


def test_a_lock_file_that_a_finished_writer_took_away_locks_nobody_out_and_nobody_in(path, monkeypatch):
    # A writer that got hold of the file just before its name went must not go on.
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock

    def late(handle, how):
        path.with_name(".store.lock").unlink()
        path.with_name(".store.lock").touch()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(StoreError, match="another process"):
        write(path)
    monkeypatch.undo()
    assert np.array_equal(write(path).data, VECTORS)


def test_a_store_where_none_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match=r"no store at .*file: that is a file"):
        write(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot write a store at"):
        write(tmp_path / "file" / "store")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_folder_of_other_things_is_not_written_over(path):
    path.mkdir()
    (path / "song.wav").write_text("precious")
    with pytest.raises(StoreError, match="holds other files .*, which a store must not replace"):
        write(path)
    assert (path / "song.wav").read_text() == "precious"


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"no store at .*none: the folder does not exist"):
        EmbeddingStore.open(tmp_path / "none")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_read_from_disk_as_they_are_taken(tmp_path, dtype):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 7)).astype(np.float32)
    names = [f"clip {row}" for row in range(20)]
    store = write_store(tmp_path / "store", names, names, 7, {}, lambda rows: values[rows], dtype=dtype)
    chosen = [names[row] for row in (13, 2, 5, 19)]
    read = store.reader(chosen)
    for numbers in ([0], [3, 0, 3, 1], []):
        found = read(np.array(numbers, dtype=np.int64))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, store.take([chosen[number] for number in numbers]))
    with pytest.raises(IndexError):
        read(np.array([4]))
    with pytest.raises(StoreError, match="lacks 1 of 1 clips"):
        store.reader(["other"])


def test_a_file_that_became_shorter_is_named(tmp_path):
    names = [f"{row}" for row in range(9)]
    store = write_store(tmp_path / "store", names, names, 3, {}, lambda rows: np.ones((len(rows), 3)))
    read = store.reader(names)
    with open(tmp_path / "store/data.npy", "r+b") as file:
        file.truncate(file.seek(0, 2) - 4)
    with pytest.raises(ArtifactError, match="ends before its row 8; make it again"):
        read(np.array([8]))


def test_rows_without_a_name_are_one_array_and_leave_no_file(tmp_path):
    blocks = [np.full((count, 3), count, dtype=dtype) for count, dtype in ((2, "float16"), (5, "float64"), (0, "f4"))]
    found = scratch_rows(iter(blocks), 3, tmp_path)
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    np.testing.assert_array_equal(found, np.concatenate(blocks))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
