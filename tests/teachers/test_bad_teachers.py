"""A teacher that fails, or gives what is no embedding: one line that names it and says what to do."""

from __future__ import annotations

import weakref
from functools import partial

import numpy as np
import pytest
import torch

from embcomp.audio.clips import Clips
from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError
from embcomp.teachers import Teacher, embed, embedder, embedding
from embcomp.teachers.embedding import check_teacher


class Fake(Teacher):
    """Two numbers per clip, until `spoil` changes what it gives."""

    name, summary, sample_rate, dim = "fake", "two numbers", 8000, 2

    def __init__(self, spoil=lambda vectors: vectors):
        self.spoil, self.calls = spoil, 0

    def fingerprint(self):
        return "fake"

    def embed(self, waveforms, lengths):
        self.calls += 1
        return self.spoil(np.stack([lengths, lengths], 1).astype(np.float32))


def fails(error):
    def spoil(vectors):
        raise error

    return spoil


def with_nan(vectors):
    vectors[1, 0] = np.nan
    return vectors


SPOILT = {
    "NaN or infinity for 1 of 24 clips, .*low_0_1|NaN or infinity for 1 of 24 clips, ": with_nan,
    r"gave shape \(23, 2\) for 24 clips where \(24, 2\) was promised": lambda vectors: vectors[:-1],
    r"gave shape \(24, 3\) for 24 clips": lambda vectors: np.concatenate([vectors, vectors[:, :1]], 1),
    r"gave object where numbers": lambda vectors: vectors.astype(object),
    r"ran out of memory on 1 clips of up to 0\.\d+ s: cut them shorter": fails(MemoryError()),
    r"ran out of memory .*teacher.window": fails(RuntimeError("[Errno 12] Failed to allocate memory")),
    r"failed on 24 clips from 'audio/.*' on: ZeroDivisionError: a; `embcomp teachers check`": fails(ZeroDivisionError("a\nb")),
}  # fmt: skip


@pytest.fixture
def clips(tones):
    return Clips(Manifest.read(tones), 16_000, 0.4)


@pytest.mark.parametrize("message", SPOILT)
def test_one_line_says_what_is_wrong_and_what_to_do(clips, tmp_path, message):
    teacher = Fake(SPOILT[message])
    for call in (
        lambda: embed(clips, clips.hashes(), teacher, tmp_path / "store"),
        lambda: embedder(clips, teacher)(np.arange(24)),
    ):
        with pytest.raises(TeacherError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value) and "fake" in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_finished_rows_stay_when_a_later_one_fails(clips, tmp_path, monkeypatch):
    # Batches of 8, so that the second fails.
    monkeypatch.setattr(embedding, "write_store", partial(embedding.write_store, batch_size=8))

    class Later(Fake):
        def embed(self, waveforms, lengths):
            if self.calls:
                raise KeyboardInterrupt
            return super().embed(waveforms, lengths)

    with pytest.raises(KeyboardInterrupt):
        embed(clips, clips.hashes(), Later(), tmp_path / "store")
    teacher = Fake()
    found = embed(clips, clips.hashes(), teacher, tmp_path / "store")
    assert teacher.calls == 2 and len(found) == 24


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")])
def test_where_memory_is_too_small_fewer_clips_are_embedded_at_once(clips, tmp_path, error):
    sizes = []

    class Small(Fake):
        def embed(self, waveforms, lengths):
            sizes.append(len(lengths))
            if len(lengths) > 5:
                raise error
            return super().embed(waveforms, lengths)

    found = embed(clips, clips.hashes(), Small(), tmp_path / "small")
    expected = embed(clips, clips.hashes(), Fake(), tmp_path / "whole")
    np.testing.assert_array_equal(found.take(found.ids), expected.take(expected.ids))
    assert sizes == [24, 12, 6, 3, 3, 3, 3, 3, 3, 3, 3]
    vectors_of, sizes[:] = embedder(clips, Small()), []
    for _ in range(2):
        assert vectors_of(np.arange(8)).shape == (8, 2)
    assert sizes == [8, 4, 4, 4, 4]  # the second time as many at once as had fitted


def test_what_a_failed_call_held_is_gone_before_fewer_clips_are_tried(clips):
    held = []

    class Activations:
        pass

    class Full(Fake):
        def embed(self, waveforms, lengths):
            assert all(one() is None for one in held)
            activations = Activations()
            held.append(weakref.ref(activations))
            if len(lengths) > 5:
                raise MemoryError
            return super().embed(waveforms, lengths)

    assert len(embedder(clips, Full())(np.arange(24))) == 24 and len(held) == 11


@pytest.mark.parametrize(
    "about, message",
    [
        ({"sample_rate": 16000.5}, "says sample_rate 16000.5; it must be a whole number of 1000 to 384000 Hz"),
        ({"sample_rate": 0}, "says sample_rate 0"),
        ({"sample_rate": None}, "says sample_rate None"),
        ({"dim": 0}, "says dim 0"),
        ({"dim": 7, "frames": 2}, "says dim 7, which 2 frames"),
        ({"frames": 0}, "frames 0"),
    ],
)
def test_a_rate_or_width_that_cannot_be_is_refused(about, message):
    teacher = Fake()
    for name, value in about.items():
        setattr(teacher, name, value)
    with pytest.raises(TeacherError, match=message):
        check_teacher(teacher, "fake")
