"""Stores in shards, clips that taught a store, label files and tar archives changed at random: read, or refused in words.

EMBCOMP_FUZZ_CASES=10000 pytest -o timeout=0 tests/faults/test_fuzz_places.py tries 10,000 of each.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import warnings

import numpy as np
import pytest
import soundfile
from helpers.fuzzing import EXAMPLES, bytes_changed, fuzz, hook, tree_changed
from hypothesis import strategies as st

from embcomp.data.makers.base import Clip
from embcomp.data.makers.tar import Shards, ShardSettings
from embcomp.review.label_file import LabelFile
from embcomp.storage import members
from embcomp.storage.merging import merge_stores
from embcomp.storage.seen import Seen
from embcomp.storage.shards import NAMES
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.storage.taught import FILE, keep, kept

USUAL = 40  # cases in the suite


@pytest.fixture(scope="module", autouse=True)
def hooked():
    sys.addaudithook(hook)


@pytest.fixture
def sharded(tmp_path):
    """A store of two shards that holds its rows itself."""
    rows = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    parts = []
    for name, part in (("a", slice(0, 5)), ("b", slice(5, 9))):
        ids = [f"clip {number}, é.wav" for number in range(9)][part]
        parts.append(
            write_store(
                tmp_path / name,
                ids,
                [f"{key:016x}" for key in range(9)][part],
                3,
                {"teacher": "t"},
                lambda n, part=part: rows[part][n],
            ).path
        )
    return merge_stores(parts, tmp_path / "joined", copy=True).path


@EXAMPLES
def test_the_index_of_a_store_in_shards(sharded, examples):
    meta, expected = json.loads((sharded / "meta.json").read_text()), EmbeddingStore.open(sharded).ids[:]

    def read(case):
        store = EmbeddingStore.open(sharded)
        found = store.take(store.ids)
        assert found.shape == (len(store), store.dim) and len(store.hashes) == len(store)
        assert set(store.ids[:]) <= set(expected)

    fuzz(
        examples,
        tree_changed(meta),
        read,
        lambda tree: (sharded / "meta.json").write_text(json.dumps(tree)),
        False,
        USUAL,
    )


@EXAMPLES
@pytest.mark.parametrize("name", [*NAMES, "data.npy"])
def test_a_file_of_a_shard(sharded, name, examples):
    path = sharded / "00001" / name

    def read(case):
        store = EmbeddingStore.open(sharded)
        rows = store.rows([one for one in store.ids])
        assert len(rows) == len(store) and store.take(store.ids).shape == (len(store), store.dim)
        assert all(isinstance(one, str) for one in store.hashes)

    fuzz(examples, bytes_changed(path.read_bytes()), read, path.write_bytes, False, USUAL)


@EXAMPLES
def test_clips_that_taught_a_store(tmp_path, examples):
    keep(tmp_path, Seen.of(["a", "b", "long#1-2", "long#3-inf"]))
    whole = (tmp_path / FILE).read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")

    def read(case):
        found = kept(tmp_path)
        assert set(found.among(["a", "x", "long#1.5-9"])) <= {"a", "x", "long#1.5-9"} and len(found) >= 0

    cases = bytes_changed(whole) | bytes_changed(whole[:head]).map(lambda part: part + whole[head:])
    fuzz(examples, cases, read, (tmp_path / FILE).write_bytes, True, USUAL)


LABELS = (
    'path,start,end,label,group,note\na.wav,0,1,"owl, ""big""",g,"two\nlines"\na.wav,1,2.5,,g,\né.wav,,,wren|tit,h,x\n'
)


@EXAMPLES
@pytest.mark.parametrize(
    "content", [LABELS, LABELS.replace(",", ";").replace("\n", "\r\n")], ids=["comma", "semicolon"]
)
def test_label_files(tmp_path, content, examples):
    path = tmp_path / "labels.csv"

    def read(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = LabelFile.open(path, parts=True, groups=True)
        assert all(file.record(key) and label for key, label in file.labels.items())

    fuzz(examples, bytes_changed(content.encode()), read, path.write_bytes, True, USUAL)


def archive():
    sound, file = io.BytesIO(), io.BytesIO()
    soundfile.write(sound, np.zeros(200), 16_000, format="WAV")
    inside = {"x/a.wav": sound.getvalue(), "x/a.json": b'{"label": ["owl", "tit"], "group": 3}', "b.wav": sound.getvalue(), "b.cls": b"wren"}  # fmt: skip
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in inside.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return file.getvalue()


@EXAMPLES
def test_files_in_tar_archives(tmp_path, examples):
    path, whole = tmp_path / "shard.tar", archive()
    heads = [start for start in range(0, len(whole), 512) if whole[start + 257 : start + 262] == b"ustar"]

    def in_a_head(start):
        return bytes_changed(whole[start : start + 512]).map(
            lambda part: whole[:start] + _summed(part[:512].ljust(512, b"\0")) + whole[start + 512 :]
        )

    def read(case):
        members._members.cache_clear()  # files written at once may have one time
        found = Shards().find([path], ShardSettings(), tmp_path / "m.csv")
        assert found.clips and all(isinstance(one, Clip) for one in found.clips)
        for name, (start, size) in members.members(path).items():
            assert len(members.read_member(path, name)) == size and start + size <= len(case)
            assert not name.startswith("/") and ".." not in name.split("/")

    cases = bytes_changed(whole) | st.sampled_from(heads).flatmap(in_a_head)
    fuzz(examples, cases, read, path.write_bytes, True, USUAL)


def _summed(head):
    """The head of a member with its sum put right, so that what else is wrong with it is looked at."""
    blank = head[:148] + b" " * 8 + head[156:]
    return head[:148] + b"%06o\0 " % sum(blank) + head[156:]
