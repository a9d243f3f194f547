"""The k-means teacher against NumPy loops written from its description, step by step; and odd input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.settings import teacher_settings

from embcomp.audio.clips import Clips
from embcomp.audio.features import compute_features
from embcomp.audio.logmel import LogMel
from embcomp.data.manifest import Manifest
from embcomp.teachers import KMeansTeacher, embed, learned_teacher, responses
from embcomp.teachers.kmeans import AUDIO, _shares, _spherical_kmeans

BANDS, RATE, FRAMES = 64, 16_000, 3
SMALL = teacher_settings(patch_frames=FRAMES, whitened=6, centroids=5, patches=1000)


def sounds(count: int = 6, samples: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy tones (count, samples) and valid lengths, the last ones shorter."""
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(200, 4000, (count, 1))
    waves = np.sin(2 * np.pi * pitch * np.arange(samples) / RATE) * rng.uniform(0.1, 0.9, (count, 1))
    waves += 0.02 * rng.normal(size=waves.shape)
    lengths = np.full(count, samples)
    lengths[count // 2 :] -= 1000
    waves[np.arange(samples) >= lengths[:, None]] = 0
    return waves.astype(np.float32), lengths


def patches_of(wave: np.ndarray, length: int) -> np.ndarray:
    """Every run of FRAMES frames of the valid part, one after the other, band by band within a patch."""
    mel = LogMel(RATE, n_mels=BANDS)(torch.from_numpy(wave))[:, : 1 + length // 160].double().numpy()
    while mel.shape[1] < FRAMES:
        mel = np.concatenate([mel, np.full((BANDS, 1), mel.min())], axis=1)
    return np.array([mel[:, start : start + FRAMES].ravel() for start in range(mel.shape[1] - FRAMES + 1)])


def standardised(patches: np.ndarray) -> np.ndarray:
    return np.array([(one - one.mean()) / (np.std(one) + 0.1) for one in patches])


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def described(teacher: KMeansTeacher, wave: np.ndarray, length: int) -> np.ndarray:
    """The embedding of one clip."""
    mean, whiten, centroids = (part.double().numpy() for part in (teacher.mean, teacher.whiten, teacher.centroids))
    cosine = unit((standardised(patches_of(wave, length)) - mean) @ whiten) @ centroids.T
    response = np.maximum(cosine - cosine.mean(axis=1, keepdims=True), 0)
    found, count = [], len(response)
    for share in range(teacher.frames):
        own = [
            row
            for row in range(count)
            if (row + 1) * teacher.frames > share * count and row * teacher.frames < (share + 1) * count
        ]
        part = response[own]
        found += [part.mean(0), part.max(0), np.sqrt(((part - part.mean(0)) ** 2).mean(0))]
    return np.concatenate(found)


def learn(waves, lengths, settings=SMALL) -> KMeansTeacher:
    return KMeansTeacher.learn([(waves, lengths)], len(waves), settings)


@pytest.fixture(params=["convolutions", "matrices"])
def products(request, monkeypatch):
    """Both ways to the products, whichever this processor takes."""
    monkeypatch.setattr(responses, "convolves", lambda: request.param == "convolutions")


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.usefixtures("products")
def test_an_embedding_is_pooled_rectified_cosines(frames):
    waves, lengths = sounds()
    learned = learn(waves, lengths)
    teacher = KMeansTeacher(learned.mean, learned.whiten, learned.centroids, frames)
    expected = [described(teacher, *one) for one in zip(waves, lengths)]
    np.testing.assert_allclose(teacher.embed(waves, lengths), expected, atol=2e-4)


def test_the_whitening_is_that_of_the_largest_principal_components():
    """All patches take part here, so that the draw of patches does not matter."""
    waves, lengths = sounds()
    teacher = learn(waves, lengths)
    patches = np.concatenate([standardised(patches_of(*one)) for one in zip(waves, lengths)])
    np.testing.assert_allclose(teacher.mean, patches.mean(0), atol=1e-5)
    _, scale, directions = np.linalg.svd(patches - patches.mean(0), full_matrices=False)
    values = (scale**2 / len(patches))[:6]
    gains = np.linalg.norm(teacher.whiten.numpy(), axis=0)[::-1]
    np.testing.assert_allclose(gains, 1 / np.sqrt(values + 0.01 * values.mean()), rtol=1e-3)
    # Directions are known up to their sign.
    aligned = np.abs((teacher.whiten.numpy()[:, ::-1] / gains * directions[:6].T).sum(0))
    np.testing.assert_allclose(aligned, 1, atol=1e-3)


def test_centroids_are_those_of_the_damped_updates():
    points = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    found = _spherical_kmeans(points, 7, torch.Generator().manual_seed(1)).numpy()
    rows = unit(points.double().numpy())
    centroids = rows[torch.randperm(300, generator=torch.Generator().manual_seed(1))[:7].numpy()]
    for _ in range(15):
        nearest = (rows @ centroids.T).argmax(1)
        moved = np.empty_like(centroids)
        for number, centroid in enumerate(centroids):
            own = rows[nearest == number]
            assert len(own)  # none is empty here, so that nothing is drawn
            moved[number] = centroid + sum((row @ centroid) * row for row in own)
        centroids = unit(moved)
    np.testing.assert_allclose(found, centroids, atol=1e-4)


def test_an_empty_centroid_starts_again_at_a_point():
    """Two equal points as starts: one of them gets no member, and must not stay where it was."""
    points = torch.tensor([[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50)
    for seed in range(8):
        found = _spherical_kmeans(points, 2, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(found.sort(dim=0).values, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))


def test_each_clip_gives_its_share_of_the_patches(monkeypatch):
    """Ten long clips and a quota of ten patches each: no more than these are clustered."""
    waves, lengths = sounds(10, samples=16_000)
    seen = []
    monkeypatch.setattr(
        "embcomp.teachers.kmeans._spherical_kmeans",
        lambda points, count, generator: seen.append(len(points)) or _spherical_kmeans(points, count, generator),
    )
    learn(waves, lengths, teacher_settings(patch_frames=FRAMES, whitened=6, centroids=5, patches=100))
    assert seen == [100]


@pytest.mark.usefixtures("products")
def test_a_row_has_the_same_bytes_whatever_batch_its_clip_is_in():
    """Also where the batch is cut into blocks, and where a longer clip pads it."""
    waves, lengths = sounds(9, samples=9000)
    lengths[::2] -= 2000
    waves[np.arange(9000) >= lengths[:, None]] = 0
    teacher = learn(waves, lengths)
    alone = [teacher.embed(waves[row : row + 1, : lengths[row]], lengths[row : row + 1])[0] for row in range(9)]
    np.testing.assert_array_equal(teacher.embed(waves, lengths), alone)


def test_log_mels_that_are_kept_give_the_bytes_of_the_audio(tones, tmp_path):
    audio = replace(AUDIO, seconds=0.4)
    clips = Clips.of(Manifest.read(tones), audio)
    hashes = clips.hashes()
    kept = compute_features(clips, hashes, audio, tmp_path / "features")
    teacher = learn(*clips.batch(np.arange(8)))
    assert teacher.takes_logmels(audio) and not teacher.takes_logmels(replace(audio, hop_length=320))
    read = embed(clips, hashes, teacher, tmp_path / "read", logmels=kept)
    np.testing.assert_array_equal(read.data, embed(clips, hashes, teacher, tmp_path / "decoded").data)


@pytest.mark.parametrize("length", [0, 1, 160, 319, 320])
@pytest.mark.usefixtures("products")
def test_clips_of_hardly_any_length(length):
    waves, lengths = sounds()
    teacher = learn(waves, lengths)
    wave = waves[0].copy()
    wave[length:] = 0
    found = teacher.embed(wave[None, : max(length, 1)], np.array([length]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], described(teacher, wave[: max(length, 1)], length), atol=2e-4)


def test_silence_is_described_as_loops_do_and_learned_from_without_nan():
    waves, lengths = sounds()
    teacher = learn(waves, lengths)
    silent = np.zeros(4000, np.float32)
    np.testing.assert_allclose(
        teacher.embed(silent[None], np.array([4000]))[0], described(teacher, silent, 4000), atol=2e-4
    )
    # Most clips silent, and all of them: no number is lost, and sound still has a finite description.
    for part in (np.concatenate([waves[:1], np.zeros((5, 4000), np.float32)]), np.zeros_like(waves)):
        teacher = learn(part, np.full(6, 4000))
        assert all(torch.isfinite(tensor).all() for tensor in (teacher.mean, teacher.whiten, teacher.centroids))
        assert np.isfinite(teacher.embed(waves, lengths)).all()


def test_the_shares_of_many_clips_add_up_to_the_patches_asked_for():
    assert (_shares(1000, 7, 0) == 143).all()  # of few clips each gives a whole share, rounded up
    for clips in (300, 999, 1000, 2500):
        shares = _shares(1000, clips, 0)
        assert len(shares) == clips and shares.sum() == 1000
        assert shares.max() - shares.min() <= 1
    assert (_shares(1000, 300, 0) != _shares(1000, 300, 1)).any()


def test_of_more_clips_than_patches_only_so_many_are_decoded(tmp_path, monkeypatch):
    """Clips are noise by their row, so that no file is needed."""
    lines = [f"{row}.wav,{row % 2}" for row in range(260)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    clips = Clips(Manifest.read(tmp_path / "manifest.csv"), RATE, 0.1)
    decoded = []

    def decode(self, row, lost=None):
        name = int(self.manifest.ids[row].removesuffix(".wav"))
        decoded.append(name)
        return np.random.default_rng(name).normal(size=1600).astype(np.float32)

    monkeypatch.setattr(Clips, "decode", decode)
    settings = replace(SMALL, patches=120)
    parts = [Clips(clips.manifest.select(rows), RATE, 0.1) for rows in (np.arange(100), np.arange(100, 260))]
    one, other = (
        learned_teacher(given, settings, tmp_path / name, "key", clips.manifest.ids)
        for given, name in ((clips, "one"), (parts, "parts"))
    )
    assert decoded[:120] == decoded[120:] == sorted(set(decoded))  # each once, in order, the same of several sets
    assert max(decoded) > 200 and len(one.seen) == 260
    assert one.fingerprint() == other.fingerprint()
    assert settings.learned_as(260) and not settings.learned_as(30)
