"""Log-mels in a store: what comes back is what the module gives for each clip alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from embcomp.audio.clips import Clips
from embcomp.audio.features import compute_features, front_end
from embcomp.config import AudioConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import StoreError

AUDIO = AudioConfig(seconds=0.3, n_mels=20, n_fft=256, win_length=256, hop_length=128)


@pytest.fixture
def clips(tones):
    return Clips(Manifest.read(tones), AUDIO.sample_rate, AUDIO.seconds)


@pytest.fixture
def features(clips, tmp_path):
    return compute_features(clips, clips.hashes(), AUDIO, tmp_path / "logmels")


def test_rows_are_the_log_mels_of_each_clip_alone(clips, features):
    values, lengths = features.load(clips.manifest.ids)
    module = front_end(AUDIO)
    assert len(set(lengths.tolist())) > 3
    for row in range(len(clips)):
        expected = module(torch.from_numpy(clips.decode(row)))
        assert lengths[row] == expected.shape[1]
        torch.testing.assert_close(values[row, :, : lengths[row]], expected, atol=1e-5, rtol=0)
        assert not values[row, :, lengths[row] :].any()


def test_features_are_loaded_in_the_order_asked_for_and_cut_at_the_longest(clips, features):
    everything, lengths = features.load(clips.manifest.ids)
    shortest = int(lengths.argmin())
    chosen = [shortest, int((lengths < lengths.max()).nonzero()[0])]
    values, found = features.load([clips.manifest.ids[row] for row in chosen])
    assert found.tolist() == lengths[chosen].tolist()
    assert values.shape[-1] == found.max() < everything.shape[-1]
    assert torch.equal(values, everything[chosen][..., : values.shape[-1]])
    assert values.is_contiguous() and found.dtype == torch.int64


def test_a_store_holds_room_for_the_longest_clip_possible(clips, features):
    frames = front_end(AUDIO).frames(clips.samples)
    assert features.store.dim == 20 * frames + 1
    assert features.load(clips.manifest.ids)[1].max() == frames


def test_features_that_stand_are_not_computed_again(clips, features, monkeypatch):
    monkeypatch.setattr(Clips, "decode", lambda *_: pytest.fail("decoded again"))
    again = compute_features(clips, features.store.hashes, AUDIO, features.store.path)
    assert np.array_equal(again.store.data, features.store.data)


def test_one_changed_clip_is_the_only_one_decoded_again(clips, features, monkeypatch):
    soundfile.write(clips.manifest.audio_path(3), np.zeros(4000), AUDIO.sample_rate)
    decode, seen = Clips.decode, []
    monkeypatch.setattr(Clips, "decode", lambda self, row: seen.append(row) or decode(self, row))
    before, _ = features.load(clips.manifest.ids)
    after, lengths = compute_features(clips, clips.hashes(), AUDIO, features.store.path).load(clips.manifest.ids)
    assert seen == [3]
    assert torch.equal(after[[*range(3), *range(4, 24)]], before[[*range(3), *range(4, 24)]])
    assert torch.allclose(after[3, :, : lengths[3]], torch.tensor(1e-5).log())


@pytest.mark.parametrize(
    "change",
    [{"hop_length": 100}, {"fmin": 50.0}, {"fmax": 4000.0}, {"n_mels": 10}, {"win_length": 200}, {"seconds": 0.2}],
    ids=str,
)
def test_features_of_other_settings_are_refused_by_name(clips, features, change):
    audio = replace(AUDIO, **change)
    with pytest.raises(StoreError, match=f"made with other settings .*'{next(iter(change))}'"):
        compute_features(
            Clips(clips.manifest, 16_000, audio.seconds), features.store.hashes, audio, features.store.path
        )


def test_progress_counts_every_clip(clips, tmp_path):
    seen = []
    compute_features(clips, clips.hashes(), AUDIO, tmp_path / "f", seen.append)
    assert sum(seen) == 24


def test_real_clips_of_mixed_length(shared, tmp_path):
    manifest = Manifest.read(shared / "data" / "fsdd" / "manifest.csv").select(range(0, 3000, 150))
    audio = AudioConfig(seconds=0.5)
    clips = Clips(manifest, audio.sample_rate, audio.seconds)
    values, lengths = compute_features(clips, clips.hashes(), audio, tmp_path / "f").load(manifest.ids)
    assert values.shape == (20, 64, lengths.max()) and lengths.max() <= 26
    assert torch.isfinite(values).all()
    for row, length in enumerate(lengths.tolist()):
        assert values[row, :, :length].std() > 0.5 and not values[row, :, length:].any()


def test_float16_keeps_log_mels_to_a_thirtieth_of_a_decibel_and_lengths_exactly(tmp_path):
    """Also lengths that float16 has no number for."""
    long = AudioConfig(seconds=4, n_mels=4, n_fft=64, win_length=64, hop_length=16)
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number, seconds in enumerate((0.3, 2.0565, 3.0713, 4.0)):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.normal(size=round(16_000 * seconds)), 16_000)
        rows.append(f"{number}.wav,a")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    clips = Clips.of(Manifest.read(tmp_path / "manifest.csv"), long)
    whole, half = (
        compute_features(clips, clips.hashes(), long, tmp_path / dtype, dtype=dtype) for dtype in ("float32", "float16")
    )
    ids = clips.manifest.ids
    (expected, lengths), (found, counts) = whole.load(ids), half.load(ids)
    assert torch.equal(counts, lengths) and any(int(np.float16(count)) != count for count in lengths.tolist())
    assert found.dtype == torch.float32 and found.shape == expected.shape
    decibel = 10 / np.log(10) * (found - expected).abs().max()
    assert 0 < decibel < 1 / 29
    assert half.store.data.nbytes < 0.51 * whole.store.data.nbytes
    features, some = half.reader(ids)(np.array([2, 0]))
    assert torch.equal(some, lengths[[2, 0]]) and torch.equal(features, found[[2, 0]][..., : features.shape[-1]])
