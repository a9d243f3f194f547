"""Rows in shards: the same numbers as one store, shuffled well, compressed by several processes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from scipy import stats

from embcomp.compression import Compressor, batches, sharded
from embcomp.compression import store as applying
from embcomp.compression.batches import minibatches, shuffled_stretches
from embcomp.compression.rows import as_rows
from embcomp.config import CompressorConfig
from embcomp.errors import BusyError, StoreError
from embcomp.storage.arrays import PartialRows, WriterLock
from embcomp.storage.merging import merge_stores
from embcomp.storage.seen import Seen
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.storage.taught import kept
from embcomp.training.compress import compress

COUNTS, WIDTH = (4000, 1500, 3700), 12


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One float16 store, and one in shards with the same rows."""
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((sum(COUNTS), 5)) @ rng.standard_normal((5, WIDTH)) + 2).astype(np.float16)
    ids = [f"{number}.wav" for number in range(len(rows))]

    def part(name, numbers):
        return write_store(
            folder / name, [ids[row] for row in numbers], [ids[row] for row in numbers], WIDTH, {"teacher": "t"},
            lambda n: rows[numbers][n], batch_size=4096, dtype="float16",
        )  # fmt: skip

    whole = part("whole", np.arange(len(rows)))
    starts = np.cumsum([0, *COUNTS])
    parts = [
        part(f"part{at}", np.arange(start, start + count)) for at, (start, count) in enumerate(zip(starts, COUNTS))
    ]
    return whole, merge_stores([one.path for one in parts], folder / "joined")


@pytest.mark.parametrize(
    "method, objective", [("pca", "reconstruction"), ("linear", "reconstruction"), ("mlp", "reconstruction")]
)
def test_fits_are_those_of_one_store_to_the_bit(both, method, objective, tmp_path, monkeypatch):
    """Also where rows are read in stretches, and ids in pieces."""
    monkeypatch.setattr(batches, "FAR", 1000)
    monkeypatch.setattr(batches, "WINDOW", 4 * WIDTH * 1000)
    options = {"epochs": 2} if method == "mlp" else {}
    models = [
        Compressor(3, method=method, objective=objective, **options).fit(one.vectors(one.ids), ids=one.ids)
        for one in both
    ]
    states = [model.module_.state_dict() for model in models]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    np.testing.assert_array_equal(models[0].seen_, models[1].seen_)


def test_the_command_fits_what_is_in_shards(both, tmp_path):
    config = CompressorConfig("linear", "reconstruction", 4)
    models = [compress(one.path, tmp_path / str(number), config=config) for number, one in enumerate(both)]
    np.testing.assert_array_equal(*(model.module_.weight.detach().numpy() for model in models))
    assert (tmp_path / "0" / "weights.safetensors").read_bytes() == (
        tmp_path / "1" / "weights.safetensors"
    ).read_bytes()
    rows = np.asarray(both[0].data[:50], dtype=np.float32)
    np.testing.assert_array_equal(*(model.transform(rows) for model in models))


@pytest.fixture(scope="module")
def fitted(both, tmp_path_factory):
    path = tmp_path_factory.mktemp("fitted") / "compressor"
    compress(both[0].path, path, config=CompressorConfig("pca", "reconstruction", 4))
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_targets_are_those_of_one_store_to_the_bit(both, fitted, tmp_path, dtype):
    found = [
        applying.apply(fitted, one.path, tmp_path / name, dtype=dtype) for one, name in zip(both, ("whole", "shards"))
    ]
    assert list(found[1].ids) == list(found[0].ids) and list(found[1].hashes) == list(found[0].hashes)
    assert found[1].data.dtype == dtype and [len(part) for part in found[1].ids.parts] == list(COUNTS)
    np.testing.assert_array_equal(np.asarray(found[1]), np.asarray(found[0]))
    assert found[1].settings == found[0].settings
    taught = [kept(one.path) for one in found]
    assert len(taught[0]) == sum(COUNTS)
    np.testing.assert_array_equal(taught[0].hashes, taught[1].hashes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards", "whole"]
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "00000", "00001", "00002", "meta.json", "taught.safetensors",
    ]  # fmt: skip
    again = applying.apply(fitted, both[1].path, tmp_path / "shards", dtype=dtype)
    assert again.path == found[1].path.absolute()
    with pytest.raises(StoreError, match="other settings"):
        applying.apply(fitted, both[1].path, tmp_path / "shards", dtype={"float32": "float16"}.get(dtype, "float32"))


def test_an_interrupted_call_goes_on_and_computes_no_row_twice(both, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "WRITTEN", 1000)
    written, failing = [], True
    own = PartialRows.write

    def write(self, rows, values):
        if failing and len(written) == 5:  # in the second shard
            raise StoreError("the disk is full")
        own(self, rows, values)
        written.append(len(rows))

    monkeypatch.setattr(PartialRows, "write", write)
    with pytest.raises(StoreError, match="full"):
        applying.apply(fitted, both[1].path, tmp_path / "out")
    assert not (tmp_path / "out").exists() and sum(written) == 5000
    failing = False
    found = applying.apply(fitted, both[1].path, tmp_path / "out")
    assert sum(written) == sum(COUNTS)
    monkeypatch.setattr(PartialRows, "write", own)
    np.testing.assert_array_equal(
        np.asarray(found), np.asarray(applying.apply(fitted, both[0].path, tmp_path / "whole"))
    )


def test_several_calls_share_the_shards_out(both, fitted, tmp_path, monkeypatch):
    """While one writes a shard, another takes the others; both return the whole store."""
    monkeypatch.setattr(sharded, "PAUSE", 0.01)
    begun, go_on, shards = threading.Event(), threading.Event(), []
    own = sharded._compressed

    def compressed(compressor, source, start, stop):
        shards.append((threading.current_thread().name, start))
        if threading.current_thread().name == "slow":
            begun.set()
            assert go_on.wait(60)
        return own(compressor, source, start, stop)

    monkeypatch.setattr(sharded, "_compressed", compressed)
    results = {}

    def call(name):
        results[name] = applying.apply(fitted, both[1].path, tmp_path / "out")

    slow = threading.Thread(target=call, args=("slow",), name="slow")
    slow.start()
    assert begun.wait(60)
    monkeypatch.setattr(sharded.time, "sleep", lambda seconds: go_on.set())  # it has done all that is left to it
    call("quick")
    slow.join(60)
    assert not slow.is_alive() and {name for name, _ in shards} == {"slow", threading.current_thread().name}
    assert len({start for _, start in shards}) == len(shards) == 3
    np.testing.assert_array_equal(np.asarray(results["slow"]), np.asarray(results["quick"]))


def test_other_folders_are_left_alone(both, fitted, tmp_path):
    (tmp_path / ".out.shards").mkdir()
    (tmp_path / ".out.shards" / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match=r"mine\.txt"):
        applying.apply(fitted, both[1].path, tmp_path / "out")
    assert (tmp_path / ".out.shards" / "mine.txt").read_text() == "x"
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        applying.apply(fitted, both[1].path, tmp_path / "file")


def test_unfinished_shards_of_another_compressor_are_left_alone(both, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "_compressed", lambda *given: pytest.fail("compressed"))
    work = tmp_path / ".out.shards"
    work.mkdir()
    (work / "plan.json").write_text('{"dim": 3}')
    with pytest.raises(
        StoreError, match=r"has unfinished shards of other settings or of another store; choose another"
    ):
        applying.apply(fitted, both[1].path, tmp_path / "out")
    assert (work / "plan.json").read_text() == '{"dim": 3}'


def test_a_lock_that_is_held_is_named(tmp_path):
    with (
        WriterLock(tmp_path / "a"),
        pytest.raises(BusyError, match="another process is writing"),
        WriterLock(tmp_path / "a"),
    ):
        pass


def epoch(count, seed, width=WIDTH, batch=64):
    generator = torch.Generator().manual_seed(seed)
    rows = np.repeat(np.arange(count, dtype=np.float32)[:, None], width, axis=1)
    return [(index.copy(), values.clone()) for index, values in minibatches(rows, batch, generator)]


@pytest.fixture
def stretched(monkeypatch):
    """Stretches of 8 rows and windows of 512."""
    monkeypatch.setattr(batches, "FAR", 0)
    monkeypatch.setattr(batches, "STRETCH", 8 * 4 * WIDTH)
    monkeypatch.setattr(batches, "WINDOW", 512 * 4 * WIDTH)


@pytest.mark.parametrize("count", [1, 7, 64, 511, 512, 513, 5000])
def test_every_row_comes_once_with_its_number(stretched, count):
    found = epoch(count, 0)
    assert sorted(np.concatenate([index for index, _ in found]).tolist()) == list(range(count))
    assert all(np.array_equal(values[:, 0].numpy(), index) for index, values in found)
    assert [len(index) for index, _ in found[:-1]] == [64] * (len(found) - 1)


def test_epochs_differ_and_a_seed_repeats_one(stretched):
    orders = [np.concatenate([index for index, _ in epoch(3000, seed)]) for seed in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])


def test_a_row_may_come_at_any_time_of_an_epoch(stretched):
    """Places of a few rows over many epochs are uniform, and those of neighbours in a stretch lie within a window."""
    places = []
    for seed in range(150):
        order = np.concatenate([index for index, _ in epoch(4096, seed)])
        places.append(np.argsort(order)[[0, 1, 2000, 4095]])
    places = np.array(places)
    for row in range(places.shape[1]):
        assert stats.kstest(places[:, row] / 4096, "uniform").pvalue > 1e-3
    near = np.abs(places[:, 0] - places[:, 1])
    assert near.max() <= 512 and 100 < near.mean() < 250  # a third of a window, were it shuffled at random


def test_batches_hold_few_neighbours(stretched):
    """Of a batch of 64 from a window of 512, a row shares its stretch with 7 * 63 / 511 others on average."""
    order = [index // 8 for seed in range(5) for index, _ in epoch(4096, seed)]
    shared = np.mean([np.mean([np.sum(batch == one) - 1 for one in batch]) for batch in order])
    assert shared == pytest.approx(7 * 63 / 511, rel=0.1)


def test_windows_are_of_whole_batches():
    windows = list(shuffled_stretches(10**6, 512, 100, torch.Generator().manual_seed(0)))
    assert sum(map(len, windows)) == 10**6 and all(len(one) % 100 == 0 for one in windows[:-1])
    assert 512 * max(map(len, windows)) <= batches.WINDOW


def test_ids_in_pieces_are_seen_as_at_once(monkeypatch):
    names = [f"{number % 700}.wav" + (f"#{number}-{number + 1}" if number % 3 else "") for number in range(1000)]
    whole = Seen.of(names)
    monkeypatch.setattr("embcomp.storage.seen.BLOCK", 7)
    pieces = Seen.of(names)
    for name in ("hashes", "files", "spans"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
    assert len(Seen.of([])) == 0


def test_rows_in_shards_are_not_read_at_once(both, monkeypatch):
    joined = both[1]
    monkeypatch.setattr(type(joined.data), "__array__", lambda *given, **options: pytest.fail("read at once"))
    rows = as_rows(joined)
    assert rows.parts[0] is joined.data and rows.ids is joined.ids
    Compressor(3, method="pca").fit(EmbeddingStore.open(joined.path)).transform(rows[:5])
