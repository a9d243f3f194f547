"""Damaged stores: refused by name, left as they are, and never run."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from helpers.stores import HASHES, IDS, VECTORS, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embcomp.errors import EmbcompError, StoreError
from embcomp.storage.store import EmbeddingStore, check_settings


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


def save(path, array):
    with open(path / "data.npy", "wb") as file:
        np.save(file, array, allow_pickle=True)


def change_meta(path, **changes):
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, **changes}))


def change_index(path, rows):
    with open(path / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)


def zipped(path):
    np.savez(path / "data.npz", VECTORS)
    (path / "data.npz").rename(path / "data.npy")


INDEX = [["id", "hash"], *map(list, zip(IDS, HASHES))]
DAMAGES = {
    "no data": lambda path: (path / "data.npy").unlink(),
    "no index": lambda path: (path / "index.csv").unlink(),
    "no meta": lambda path: (path / "meta.json").unlink(),
    "data cut short": lambda path: (path / "data.npy").write_bytes((path / "data.npy").read_bytes()[:-1]),
    "data empty": lambda path: (path / "data.npy").write_bytes(b""),
    "data text": lambda path: (path / "data.npy").write_text("no array"),
    "data zip": zipped,
    "data objects": lambda path: save(path, np.array([[{}]] * 10, dtype=object)),
    "data header open": lambda path: (path / "data.npy").write_bytes(b'\x93NUMPY\x01\x00\x06\x00("""\n '),
    "data double": lambda path: save(path, VECTORS.astype(np.float64)),
    "data big endian": lambda path: save(path, VECTORS.astype(">f4")),
    "data integers": lambda path: save(path, VECTORS.astype(np.int32)),
    "data flat": lambda path: save(path, VECTORS.ravel()),
    "data of fewer rows": lambda path: save(path, VECTORS[:9]),
    "index of fewer rows": lambda path: change_index(path, INDEX[:-1]),
    "index of other columns": lambda path: change_index(path, [["id", "key"], *INDEX[1:]]),
    "index of three columns": lambda path: change_index(path, [*INDEX[:-1], ["a", "b", "c"]]),
    "index names twice": lambda path: change_index(path, [*INDEX[:-1], INDEX[1]]),
    "index empty": lambda path: (path / "index.csv").write_text(""),
    "index latin-1": lambda path: (path / "index.csv").write_bytes("id,hash\n\xe4,x\n".encode("latin-1")),
    "meta text": lambda path: (path / "meta.json").write_text("{"),
    "meta list": lambda path: (path / "meta.json").write_text("[]"),
    "meta unfinished": lambda path: change_meta(path, complete=False),
    "meta of another format": lambda path: change_meta(path, format=2),
    "meta without settings": lambda path: change_meta(path, settings=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_by_name_and_left_alone(path, damage):
    write(path)
    DAMAGES[damage](path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for use in (EmbeddingStore.open, write):
        with pytest.raises(StoreError) as caught:
            use(path)
        assert str(path) in str(caught.value)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_pickled_rows_are_not_loaded(path, tmp_path):
    class Plant:
        def __reduce__(self):
            return (tmp_path / "planted").mkdir, ()

    write(path)
    save(path, np.array([[Plant()]] * 10, dtype=object))
    with pytest.raises(StoreError):
        EmbeddingStore.open(path)
    assert not (tmp_path / "planted").exists()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_raises_anything_but_an_embcomp_error(path, data):
    if not path.exists():
        write(path)
    name = data.draw(st.sampled_from(["data.npy", "index.csv", "meta.json"]))
    whole = (path / name).read_bytes()
    place = data.draw(st.integers(0, min(len(whole), 140)))
    damaged = whole[:place] + data.draw(st.binary(max_size=20)) + whole[data.draw(st.integers(place, len(whole))) :]
    try:
        (path / name).write_bytes(damaged)
        found = EmbeddingStore.open(path)
        assert found.take(found.ids).shape == (len(found), found.dim)
        assert check_settings(path, found.settings, found.settings) is None
    except EmbcompError:
        pass
    finally:
        (path / name).write_bytes(whole)
