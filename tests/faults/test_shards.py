"""Stores in shards whose writing ends at any file operation, by a full disk or by Ctrl-C: said in words, and gone on with."""

from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest
from helpers.killing import EVENTS, GROWS, contents

from embcomp.compression import Compressor, sharded
from embcomp.compression.sharded import apply_shards
from embcomp.errors import EmbcompError, StoreError
from embcomp.storage import arrays
from embcomp.storage.arrays import PartialRows, WriterLock
from embcomp.storage.merging import merge_stores
from embcomp.storage.store import EmbeddingStore, write_store

COUNTS, WIDTH = (5, 8), 4
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Ends:
    """Counts the file operations of this process, and ends what it does at number `at`.

    From there on nothing can be created or renamed on a disk that is ``full``; ``interrupted``, it ends there alone.
    """

    def __init__(self):
        self.kind, self.at, self.count = "", 0, 0

    def __call__(self, event, arguments):
        if not self.at:
            return
        writes = event == "open" and isinstance(arguments[1], str) and bool(set(arguments[1]) & set("wax+"))
        if not writes and event not in EVENTS:
            return
        self.count += 1
        if self.kind == "interrupted" and self.count == self.at:
            raise KeyboardInterrupt
        created = event != "open" or "r" not in arguments[1]
        if self.kind == "full" and self.count >= self.at and event in GROWS and created:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

    def during(self, kind, at, call):
        """Call with the fault; whether it was reached."""
        self.kind, self.at, self.count = kind, at, 0
        try:
            call()
        finally:
            self.at = 0
        return self.count >= at


@pytest.fixture(scope="module")
def ends():
    found = Ends()
    sys.addaudithook(found)  # stays as long as the process, and does nothing between calls
    return found


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Two stores, both as one in shards, the same as a table, and a compressor."""
    folder = tmp_path_factory.mktemp("ready")
    rows = np.random.default_rng(0).normal(size=(sum(COUNTS), WIDTH)).astype(np.float32)
    names = [f"{number}.wav" for number in range(len(rows))]
    for name, start, stop in (("a", 0, COUNTS[0]), ("b", COUNTS[0], len(rows))):
        part = names[start:stop]
        write_store(folder / name, part, part, WIDTH, {"teacher": "t"}, lambda n, start=start: rows[start + n])
    merge_stores([folder / "a", folder / "b"], folder / "shards")
    Compressor(2, method="pca").fit(rows, ids=names).save(folder / "compressor")
    return folder


def applied(folder, out):
    compressor, source = Compressor.load(folder / "compressor"), EmbeddingStore.open(folder / "shards")
    return apply_shards(compressor, source, out, {"source": source.settings}, "float32")


def joined(folder, out):
    return merge_stores([folder / "a", folder / "b"], out, copy=True)


def imported(folder, out):
    exchange = pytest.importorskip("embcomp.storage.exchange")
    pytest.importorskip("pyarrow")
    table = folder / "table.parquet"
    if not table.exists():
        exchange.export_store(folder / "a", table)
    return exchange.import_tables([table], out, per_shard=3)


@pytest.mark.parametrize(
    "write, kind", [(applied, "full"), (applied, "interrupted"), (joined, "full"), (imported, "full")]
)
def test_wherever_it_ends_the_same_call_gives_the_same_store(ready, ends, tmp_path, monkeypatch, write, kind):
    expected = contents(write(ready, tmp_path / "whole").path)
    written, own = [], PartialRows.write
    monkeypatch.setattr(
        PartialRows, "write", lambda self, rows, values: (own(self, rows, values), written.append(len(rows)))
    )
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nothing here pulls the plug
    monkeypatch.setattr("embcomp.storage.merging.PARTS", 2)
    at, reached, ended = 0, True, 0
    while reached:
        at += 1
        place = tmp_path / str(at)
        out = place / "store"
        place.mkdir()
        written.clear()
        try:
            reached = ends.during(kind, at, lambda out=out: write(ready, out))
        except EmbcompError as error:
            ended += 1
            assert str(error).startswith("cannot ") and "No space left on device" in str(error), at
            assert str(place) in str(error), f"at {at} it does not name what cannot be written: {error}"
        except KeyboardInterrupt:
            ended += 1
        if write is applied or not out.exists():  # what is whole, the others do not make again
            assert write is applied or kind != "full" or os.listdir(place) == [], at
            write(ready, out)
        assert contents(out) == expected, at
        assert os.listdir(place) == ["store"], at
        assert write is not applied or sum(written) == sum(COUNTS), f"at {at} rows were made twice"
    assert ended > 15


def test_rows_that_do_not_fit_are_kept_or_not_as_the_message_says(ready, tmp_path, monkeypatch):
    def full(handle):
        raise FULL

    own = PartialRows.write

    def write_on_full_disk(self, rows, values):
        with monkeypatch.context() as patch:
            patch.setattr(arrays.os, "fsync", full)
            own(self, rows, values)

    imported(ready, tmp_path / "whole")  # which makes the table
    monkeypatch.setattr(PartialRows, "write", write_on_full_disk)
    with pytest.raises(EmbcompError) as caught:
        imported(ready, tmp_path / "out")
    expected = f"cannot write {tmp_path / 'out'}: No space left on device; make room there and run again"
    assert str(caught.value) == expected and os.listdir(tmp_path) == ["whole"]
    with pytest.raises(StoreError, match="left on device; 0 of 5 rows are kept, the same call goes on from there"):
        applied(ready, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == [".out.shards", "whole"]


def test_shards_are_not_put_together_under_the_hands_of_a_writer(ready, tmp_path, monkeypatch):
    """A shard that has its name may still be tidied up by its writer: the others wait for that, and do not spin."""
    out, pauses = tmp_path / "out", []
    lock = WriterLock(tmp_path / ".out.shards" / "00001")

    def pause(seconds):
        pauses.append(seconds)
        assert not out.exists()
        lock.__exit__()

    monkeypatch.setattr(sharded.time, "sleep", pause)
    own = sharded._put_together
    monkeypatch.setattr(sharded, "_put_together", lambda *given: (pauses or lock.__enter__(), own(*given)))
    assert len(applied(ready, out)) == sum(COUNTS)
    assert pauses == [sharded.PAUSE] and os.listdir(tmp_path) == ["out"]
