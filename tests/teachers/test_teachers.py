from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.settings import teacher_settings
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, DataError, StoreError
from embcomp.teachers import KMeansTeacher, StoredTeacher, Teacher, embed, embedder, learned_teacher, open_teacher

SMALL = teacher_settings(whitened=16, centroids=8, patches=2000)


@pytest.fixture
def clips(tones):
    return Clips(Manifest.read(tones), 16_000, 0.4)


def learn(clips, config=SMALL):
    return KMeansTeacher.learn(((waves, lengths) for _, waves, lengths in clips.batches(8)), len(clips), config)


def test_centroids_are_unit_vectors_and_the_embedding_is_rectified(clips):
    teacher = learn(clips)
    torch.testing.assert_close(teacher.centroids.norm(dim=1), torch.ones(8))
    vectors = teacher.embed(*clips.batch(np.arange(4)))
    assert vectors.shape == (4, teacher.dim) == (4, 24) and vectors.dtype == np.float32
    assert (vectors >= 0).all()
    mean, peak = vectors[:, :8], vectors[:, 8:16]
    assert (peak >= mean).all()


def test_same_seed_same_teacher_and_another_seed_another(clips):
    assert learn(clips).fingerprint() == learn(clips).fingerprint()
    assert (
        learn(clips).fingerprint()
        != learn(clips, teacher_settings(whitened=16, centroids=8, patches=2000, seed=1)).fingerprint()
    )


def test_a_clip_does_not_depend_on_its_batch(clips):
    teacher = learn(clips)
    waves, lengths = clips.batch(np.arange(6))
    together = teacher.embed(waves, lengths)
    for row in range(6):
        alone = teacher.embed(*clips.batch(np.array([row])))[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5)


def test_level_does_not_matter_much(clips):
    teacher = learn(clips)
    waves, lengths = clips.batch(np.arange(6))
    loud, quiet = teacher.embed(waves, lengths), teacher.embed(waves * 0.3, lengths)
    other = teacher.embed(*clips.batch(np.arange(12, 18)))
    assert np.linalg.norm(loud - quiet) < 0.5 * np.linalg.norm(loud - other)


def test_it_tells_pitches_apart_without_labels(clips):
    vectors = learn(clips).embed(*clips.batch(np.arange(len(clips))))
    label = np.array([name == "high" for name in clips.manifest.labels])
    centroid = {value: vectors[::2][label[::2] == value].mean(0) for value in (True, False)}
    nearest = np.linalg.norm(vectors[1::2] - centroid[True], axis=1) < np.linalg.norm(
        vectors[1::2] - centroid[False], axis=1
    )
    assert (nearest == label[1::2]).mean() > 0.9


def test_a_clip_shorter_than_a_patch_still_has_an_embedding(clips):
    vectors = learn(clips).embed(np.zeros((1, 100), np.float32), np.array([100]))
    assert np.isfinite(vectors).all()


def test_more_centroids_than_patches_is_refused(clips):
    with pytest.raises(DataError, match=r"cannot be parted into 100000 centroids"):
        learn(clips, teacher_settings(centroids=100_000))


def test_save_and_load(clips, tmp_path):
    teacher = learn(clips)
    teacher.save(tmp_path / "teacher")
    loaded = KMeansTeacher.load(tmp_path / "teacher")
    assert loaded.fingerprint() == teacher.fingerprint()
    batch = clips.batch(np.arange(3))
    np.testing.assert_array_equal(loaded.embed(*batch), teacher.embed(*batch))


def test_weights_that_do_not_fit_together_are_refused(clips, tmp_path):
    teacher = learn(clips)
    teacher.centroids = teacher.centroids[:, :4]
    teacher.save(tmp_path / "teacher")
    with pytest.raises(ArtifactError, match="do not fit together"):
        KMeansTeacher.load(tmp_path / "teacher")


def test_a_teacher_of_other_clips_is_not_reused(clips, tmp_path):
    learned_teacher(clips, SMALL, tmp_path / "t", "key")
    assert learned_teacher(clips, SMALL, tmp_path / "t", "key").learned_on == "key"
    with pytest.raises(ArtifactError, match="learned from other clips"):
        learned_teacher(clips, SMALL, tmp_path / "t", "other")


def test_clips_are_decoded_at_the_teachers_rate_whatever_the_students(tones, clips, tmp_path):
    teacher = learn(clips)
    other = Clips(Manifest.read(tones), 8000, 0.4)
    store = embed(other, other.hashes(), teacher, tmp_path / "store")
    assert store.settings["sample_rate"] == teacher.sample_rate
    np.testing.assert_array_equal(store.take(clips.manifest.ids[:3]), teacher.embed(*clips.batch(np.arange(3))))
    np.testing.assert_array_equal(embedder(other, teacher)(np.arange(3)), store.take(clips.manifest.ids[:3]))
    settings = SMALL
    learned = learned_teacher(other, settings, tmp_path / "t", "key")
    assert learned.fingerprint() == learned_teacher(clips, settings, tmp_path / "u", "key").fingerprint()


def test_a_teacher_that_must_be_learned_is_not_opened():
    with pytest.raises(ConfigError, match="kmeans has to be learned from clips first; .* kmeans:FOLDER"):
        open_teacher(SMALL)


@pytest.mark.parametrize(
    "spec, message", [("kmean", "did you mean 'kmeans'"), ("store", "needs a path"), ("", "unknown teacher")]
)
def test_bad_specs(spec, message):
    with pytest.raises(ConfigError, match=message):
        teacher_settings(spec=spec)


def test_stored_npy_follows_the_manifest(tones, tmp_path):
    manifest = Manifest.read(tones)
    vectors = np.random.default_rng(0).normal(size=(len(manifest), 5)).astype(np.float32)
    np.save(tones.parent / "emb.npy", vectors)
    teacher = StoredTeacher("emb.npy", manifest)  # a relative path starts at the manifest
    part = manifest.select([5, 2])
    np.testing.assert_array_equal(teacher.rows(part.ids), vectors[[5, 2]])
    store = embed(Clips(part, 16_000, 1.0), ["a", "b"], teacher, tmp_path / "store")
    np.testing.assert_array_equal(store.take(part.ids), vectors[[5, 2]])


def test_stored_npz_and_ids_beside_npy(tones, tmp_path):
    manifest = Manifest.read(tones)
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(tmp_path / "e.npz", ids=np.array(["x", "y", "z"]), embeddings=vectors)
    np.testing.assert_array_equal(StoredTeacher(tmp_path / "e.npz", manifest).rows(["z", "x"]), vectors[[2, 0]])
    np.save(tmp_path / "e.npy", vectors)
    (tmp_path / "e.ids.txt").write_text("x\ny\nz\n")
    np.testing.assert_array_equal(StoredTeacher(tmp_path / "e.npy", manifest).rows(["y"]), vectors[[1]])
    with pytest.raises(StoreError, match="lacks 1 of 2 clips, 'q' first"):
        StoredTeacher(tmp_path / "e.npy", manifest).rows(["x", "q"])


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("none.npy", None, "no embeddings at"),
        ("e.txt", b"hello", "come as an embcomp store"),
        ("e.npy", b"hello", "cannot read"),
        ("e.npz", b"hello", "cannot read"),
    ],
)
def test_stored_files_that_cannot_be_used(tones, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=message):
        StoredTeacher(tmp_path / name, Manifest.read(tones))


def test_a_pickled_npy_is_not_opened(tones, tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="cannot read"):
        StoredTeacher(tmp_path / "evil.npy", Manifest.read(tones))


def test_wrong_number_of_rows_is_refused(tones, tmp_path):
    np.save(tmp_path / "e.npy", np.zeros((3, 2)))
    with pytest.raises(StoreError, match="holds 3 rows, the manifest 24"):
        StoredTeacher(tmp_path / "e.npy", Manifest.read(tones))


def test_embed_is_independent_of_where_it_stopped(tones, clips, tmp_path):
    teacher = learn(clips)
    hashes = clips.hashes()
    whole = embed(clips, hashes, teacher, tmp_path / "whole")

    class Stops(Teacher):
        name, sample_rate, dim, fingerprint = teacher.name, teacher.sample_rate, teacher.dim, teacher.fingerprint

        def embed(self, waves, lengths):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(clips, hashes, Stops(), tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    parts = embed(clips, hashes, teacher, tmp_path / "parts")
    np.testing.assert_array_equal(whole.data, parts.data)


def test_real_embeddings_are_read(shared):
    manifest = Manifest.read(shared / "data/drums_machine/manifest.csv")
    teacher = StoredTeacher("embeddings/lyra_soundstream_192.npy", manifest)
    assert teacher.rows(manifest.ids).shape == (184, 192)


def test_the_default_teacher_beats_chance_by_far_on_real_digits(shared):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    manifest = Manifest.read(shared / "data/fsdd/manifest.csv")
    rows = np.arange(0, 3000, 5)
    manifest = manifest.select(rows)
    clips = Clips(manifest, 16_000, 1.0)
    teacher = learn(clips, teacher_settings(centroids=64, patches=10_000))
    vectors = teacher.embed(*clips.batch(np.arange(len(clips))))
    test = manifest.groups == "theo"
    label = np.array(manifest.labels)
    scaler = StandardScaler().fit(vectors[~test])
    model = LogisticRegression(C=0.01, max_iter=300).fit(scaler.transform(vectors[~test]), label[~test])
    assert model.score(scaler.transform(vectors[test]), label[test]) > 0.4  # chance is 0.1


def test_write_tones_is_what_the_tests_think(tmp_path):
    manifest = Manifest.read(write_tones(tmp_path, classes=("a", "b", "c"), groups=2, clips=1))
    assert len(manifest) == 6 and len(set(manifest.groups)) == 6
