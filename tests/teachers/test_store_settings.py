"""A store of embeddings says all that its rows depend on; one made with anything else is not gone on with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from embcomp.audio.clips import Clips
from embcomp.data.manifest import Manifest
from embcomp.errors import StoreError
from embcomp.storage.store import EmbeddingStore
from embcomp.teachers import KMeansTeacher, embed


def teacher(seed: int = 0, frames: int = 1) -> KMeansTeacher:
    torch.manual_seed(seed)
    return KMeansTeacher(torch.zeros(64), torch.randn(64, 4), torch.randn(3, 4), frames)


@pytest.fixture
def clips(tones):
    return Clips(Manifest.read(tones).select(np.arange(3)), KMeansTeacher.sample_rate, 0.3)


OTHERS = {
    "weights": lambda clips: (clips, teacher(1)),
    "frames": lambda clips: (clips, teacher(frames=2)),
    "seconds": lambda clips: (replace(clips, seconds=0.1), teacher()),
    "channel": lambda clips: (replace(clips, channel="left"), teacher()),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_store_of_another_making_is_refused_and_left_as_it_is(clips, tmp_path, what):
    path = tmp_path / "store"
    hashes = clips.hashes()
    embed(clips, hashes, teacher(), path)
    before = EmbeddingStore.open(path).take(clips.manifest.ids).copy()
    other, made_by = OTHERS[what](clips)
    with pytest.raises(StoreError):
        embed(other, hashes, made_by, path)
    np.testing.assert_array_equal(EmbeddingStore.open(path).take(clips.manifest.ids), before)


@pytest.mark.parametrize("what", OTHERS)
def test_rows_of_another_making_are_not_copied_from_a_store_beside_it(clips, tmp_path, what):
    hashes = clips.hashes()
    embed(clips, hashes, teacher(), tmp_path / "stores/first")
    other, made_by = OTHERS[what](clips)
    reused = embed(other, hashes, made_by, tmp_path / "stores/second", reuse=tmp_path / "stores")
    anew = embed(other, hashes, made_by, tmp_path / "alone")
    np.testing.assert_array_equal(reused.take(clips.manifest.ids), anew.take(clips.manifest.ids))


def test_the_same_making_is_gone_on_with(clips, tmp_path):
    first = embed(clips, clips.hashes(), teacher(), tmp_path / "store")
    again = embed(clips, clips.hashes(), teacher(), tmp_path / "store")
    np.testing.assert_array_equal(first.take(clips.manifest.ids), again.take(clips.manifest.ids))
