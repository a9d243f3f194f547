"""Teachers with several vectors per clip, and losses over time and over the student's stages."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from helpers.runs import tiny
from helpers.settings import student_settings, teacher_settings, transfer_settings
from helpers.tones import write_tones
from helpers.transfer_cases import (
    CLASSES,
    DIM,
    WIDTH,
    batch_of,
    check_training_moves_what_is_trainable_and_nothing_else,
    examples,
    moved_by,
    names,
    new_student,
    prepared,
    teacher_vectors,
    terms_of,
    trained,
)

from embcomp.audio.clips import Clips
from embcomp.cli import group
from embcomp.compression import Compressor
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError, StoreError
from embcomp.losses import align_frames, distance_correlation, time_shares
from embcomp.pipeline import run
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.students import StudentOutput, build_student
from embcomp.teachers import KMeansTeacher, StoredTeacher, embed
from embcomp.transfer import build_transfer

EAST = ("embedding", "embedding_kd")


def vectors_over_time(count=48, frames=3):
    return np.stack([teacher_vectors(count, seed=seed) for seed in range(frames)], axis=1)


def of_one_length(**options):
    data = examples(**options)
    data.lengths[:] = 20
    return data


def ended(lengths, time=7, channels=4):
    """Frames of clips that end after `lengths`, zero from there on."""
    values = torch.rand(len(lengths), time, channels, generator=torch.Generator().manual_seed(0)) + 0.1
    return values * (torch.arange(time).view(1, -1, 1) < torch.tensor(lengths).view(-1, 1, 1))


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_shares_of_time_that_hold_whole_frames_are_their_means(count):
    frames = ended([6, 6], time=6)
    expected = F.adaptive_avg_pool1d(frames.transpose(1, 2), count).transpose(1, 2)
    torch.testing.assert_close(time_shares(frames, count), expected)


def test_as_many_shares_as_frames_change_nothing_and_twice_as_many_repeat_them():
    frames = ended([7, 7])
    assert torch.equal(time_shares(frames, 7), frames)
    torch.testing.assert_close(time_shares(frames, 14), frames.repeat_interleave(2, 1))


@pytest.mark.parametrize("count", [1, 3, 5, 11])
def test_every_valid_frame_counts_alike_in_the_shares_and_padding_not_at_all(count):
    lengths = [7, 5, 2, 1]
    frames = ended(lengths).requires_grad_()
    shares = time_shares(frames, count)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(shares[row].mean(0), frames[row, :length].mean(0))
        torch.testing.assert_close(shares[row : row + 1], time_shares(frames[row : row + 1, :length], count))
    (gradient,) = torch.autograd.grad(shares.sum(), frames)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(gradient[row, :length], torch.full((length, 4), count / length))
        assert not gradient[row, length:].any()


def test_a_clip_of_silence_has_shares_of_zero():
    assert not time_shares(torch.zeros(2, 3, 4), 2).any()


@pytest.mark.parametrize("repeats", [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_frames_of_clips_of_one_length_are_aligned_as_in_the_paper(repeats):
    data, vectors = of_one_length(), vectors_over_time(frames=6)
    count = -(-6 * repeats[1] // repeats[0])  # a student whose frame rate meets the teacher's
    transfer = prepared(
        "embedding", data, vectors, weight=1.0, frames=True, student_repeat=repeats[0], teacher_repeat=repeats[1]
    )
    frames = ended([count] * 48, time=count)
    output = StudentOutput(torch.zeros(48, CLASSES), torch.zeros(48, WIDTH), frames)
    expected = distance_correlation(*align_frames(frames, torch.from_numpy(vectors), *repeats))
    torch.testing.assert_close(transfer.loss(output, batch_of(data))["distance"], expected)


def test_a_clip_meets_its_teacher_at_the_same_shares_whatever_its_length_and_batch():
    transfer = prepared("embedding", examples(), vectors_over_time(), frames=True)
    frames, targets = ended([7, 6, 3], time=9), torch.from_numpy(vectors_over_time()[:3])
    output = StudentOutput(torch.zeros(3, CLASSES), torch.zeros(3, WIDTH), frames)
    ((_, together, _),) = transfer.compared(output, targets)
    for row, length in enumerate([7, 6, 3]):
        alone = output._replace(frames=frames[row : row + 1, :length])
        ((_, found, teacher),) = transfer.compared(alone, targets[row : row + 1])
        assert teacher.shape == (1, 3, DIM)
        torch.testing.assert_close(found[0], together[row])


def test_time_averages_are_what_a_pooled_target_is_compared_with():
    data, vectors, student = examples(), vectors_over_time(), new_student()
    averaged = prepared("embedding", data, vectors, frames=True, student_repeat=-1, teacher_repeat=-1)
    pooled = prepared("embedding", data, vectors.mean(1), stage_weights=(0.0, 0.0, 1.0))
    batch = batch_of(data)
    found, expected = (terms_of(transfer, student, batch)["distance"] for transfer in (averaged, pooled))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(
        terms_of(prepared("embedding", data, vectors, frames=True), student, batch)["distance"], found
    )


def test_one_vector_per_clip_is_compared_with_every_frame():
    data = of_one_length()
    frames = ended([6] * 48, time=6)
    output = StudentOutput(torch.zeros(48, CLASSES), torch.zeros(48, WIDTH), frames)
    transfer = prepared("embedding", data, weight=1.0, frames=True, teacher_repeat=6)
    expected = distance_correlation(frames, torch.from_numpy(teacher_vectors())[:, None].expand(-1, 6, -1))
    torch.testing.assert_close(transfer.loss(output, batch_of(data))["distance"], expected)


@pytest.mark.parametrize("kind", ["cp_resnet", "mobile_fcn"])
def test_the_last_stage_of_a_published_student_averages_to_its_embedding(kind):
    data = examples(count=6)
    torch.manual_seed(0)
    student = build_student(student_settings(kind=kind), CLASSES, 24)
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    final, default = (prepared("embedding", data, stage_weights=weights) for weights in ((0.0, 0.0, 1.0), ()))
    found, expected = (transfer.loss(output, batch)["distance"] for transfer in (final, default))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frames", [False, True])
def test_stages_count_by_their_weights_divided_by_the_sum(frames):
    data, student = examples(), new_student()
    vectors = vectors_over_time() if frames else teacher_vectors()
    output = student(batch_of(data).features, data.lengths)

    def distance(*weights):
        transfer = prepared("embedding", data, vectors, weight=1.0, frames=frames, stage_weights=weights)
        return transfer.loss(output, batch_of(data))["distance"]

    first, second, third = distance(1, 0, 0), distance(0, 2, 0), distance(0, 0, 0.3)
    assert len({round(one.item(), 5) for one in (first, second, third)}) == 3
    torch.testing.assert_close(distance(1, 1, 1), (first + second + third) / 3)
    torch.testing.assert_close(distance(0.5, 0, 1.5), (first + 3 * third) / 4)


def test_embedding_kd_takes_seven_tenths_of_the_distance_over_time_and_a_teacher_on_the_average():
    data, vectors, student = examples(), vectors_over_time(), new_student()
    output = student(batch_of(data).features, data.lengths)
    options = {"weight": 0.8, "frames": True, "stage_weights": (1.0, 1.0, 1.0)}
    found = prepared("embedding_kd", data, vectors, **options).loss(output, batch_of(data))
    alone = prepared("embedding", data, vectors, **options).loss(output, batch_of(data))
    pooled = prepared("logit_kd", data, vectors.mean(1), weight=0.8).loss(output, batch_of(data))
    torch.testing.assert_close(found["prediction"], alone["prediction"])
    torch.testing.assert_close(found["distance"], 0.7 * alone["distance"])
    torch.testing.assert_close(found["kd"], 0.3 * pooled["kd"])


REACHED = {
    (): ("stem", "blocks", "across"),
    (1.0, 0.0, 0.0): ("stem", "blocks.0", "blocks.1"),
    (1.0, 1.0, 0.0): ("stem", "blocks"),
    (0.0, 0.0, 1.0): ("stem", "blocks", "across"),
}


@pytest.mark.parametrize("frames, weights", [(True, key) for key in REACHED] + [(False, key) for key in REACHED if key])
@pytest.mark.parametrize("method", EAST)
def test_the_distance_moves_the_student_up_to_the_stages_that_count(method, frames, weights):
    data, student = examples(), new_student()
    vectors = vectors_over_time() if frames else teacher_vectors()
    transfer = prepared(method, data, vectors, frames=frames, stage_weights=weights)
    terms = terms_of(transfer, student, batch_of(data))
    assert moved_by(terms["distance"], student) == {
        name for name in names(student) if name.startswith(REACHED[weights])
    }
    assert moved_by(terms["prediction"], student) == names(student) and not names(transfer)


@pytest.mark.parametrize("options", [{"frames": True}, {"stage_weights": (1.0, 1.0, 1.0)}, {"frames": True, "stage_weights": (0.0, 1.0, 1.0)}])  # fmt: skip
@pytest.mark.parametrize("method", EAST)
def test_training_moves_what_is_trainable_and_nothing_else(method, options):
    data = examples(unlabelled=12)
    vectors = vectors_over_time() if "frames" in options else teacher_vectors()
    transfer = prepared(method, data, vectors, **options)
    check_training_moves_what_is_trainable_and_nothing_else(transfer, data, roll=0.0, mixup=0.3)


def test_a_student_learns_from_its_distances_over_time():
    data = examples()
    transfer = prepared("embedding", data, vectors_over_time(), frames=True, stage_weights=(0.0, 1.0, 1.0))
    _, result = trained(transfer, data, roll=0.0)
    assert result.best_score > 0.8
    assert result.history[-1]["distance"] < 0.8 * result.history[0]["distance"]


def test_frames_that_are_compared_in_time_must_not_be_rolled():
    data = examples()
    with pytest.raises(ConfigError, match="set training.roll to 0"):
        trained(prepared("embedding", data, vectors_over_time(), frames=True), data, steps=1)
    trained(prepared("embedding", data, teacher_vectors(), frames=True, teacher_repeat=3), data, steps=1)
    averaged = {"student_repeat": -1, "teacher_repeat": -1}
    trained(prepared("embedding", data, vectors_over_time(), frames=True, **averaged), data, steps=1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stage_weights": (1.0, -1.0, 1.0)}, "at least 0 and not all 0, not"),
        ({"stage_weights": (0.0, 0.0)}, "at least 0 and not all 0, not"),
        ({"frames": True, "student_repeat": 0}, "both 1 or more, or both -1"),
        ({"frames": True, "teacher_repeat": -1}, "both 1 or more, or both -1"),
        ({"frames": True, "student_projector": True}, "student_projector"),
        ({"stage_weights": (1.0,), "student_projector": True}, "student_projector"),
    ],
)
def test_misuse_is_told(options, message):
    with pytest.raises(ConfigError, match=message):
        build_transfer(transfer_settings(method="embedding", **options), False)


def test_a_weight_for_each_stage_of_the_student_or_none():
    data, student = examples(), new_student()
    transfer = prepared("embedding", data, stage_weights=(1.0, 1.0))
    with pytest.raises(ConfigError, match="2 weights, the student 3 stages"):
        terms_of(transfer, student, batch_of(data))
    bare = StudentOutput(torch.zeros(48, CLASSES), torch.zeros(48, WIDTH), torch.ones(48, 3, 8))
    with pytest.raises(ConfigError, match="2 weights, the student 0 stages"):
        transfer.loss(bare, batch_of(data))


def test_a_direct_cosine_over_time_needs_frames_as_wide_as_the_targets():
    data = examples()
    transfer = prepared("embedding", data, vectors_over_time(), frames=True, distance="cosine", weight=1.0)
    output = StudentOutput(torch.zeros(48, CLASSES), torch.zeros(48, WIDTH), torch.ones(48, 3, WIDTH))
    with pytest.raises(DataError, match="needs equal widths"):
        transfer.loss(output, batch_of(data))
    same = output._replace(frames=torch.from_numpy(vectors_over_time()))
    assert float(transfer.loss(same, batch_of(data))["distance"]) < 1e-5


SMALL = {"whitened": 16, "centroids": 8, "patches": 2000}


@pytest.fixture
def clips(tones):
    return Clips(Manifest.read(tones), 16_000, 0.4)


def learn(clips, frames):
    batches = ((waves, lengths) for _, waves, lengths in clips.batches(8))
    return KMeansTeacher.learn(batches, len(clips), teacher_settings(frames=frames, **SMALL))


def test_the_k_means_teacher_pools_over_equal_shares_of_each_clips_own_time(clips):
    whole, parts = learn(clips, 1), learn(clips, 3)
    assert (whole.dim, parts.dim) == (24, 72) and whole.fingerprint() != parts.fingerprint()
    waves, lengths = clips.batch(np.arange(5))
    found = parts.embed(waves, lengths).reshape(5, 3, 24)
    pooled = whole.embed(waves, lengths)
    np.testing.assert_allclose(
        found[:, :, 8:16].max(1), pooled[:, 8:16], atol=1e-6
    )  # the loudest of all is one of theirs
    np.testing.assert_allclose(found[:, :, :8].mean(1), pooled[:, :8], atol=0.02)
    assert np.abs(found[:, 0] - found[:, 2]).max() > 0.05
    alone = parts.embed(waves[2:3, : lengths[2]], lengths[2:3]).reshape(3, 24)
    np.testing.assert_allclose(found[2], alone, atol=1e-5)


def test_a_clip_of_one_patch_has_as_many_vectors_all_alike(clips):
    found = learn(clips, 4).embed(np.zeros((1, 100), np.float32), np.array([100])).reshape(4, -1)
    assert np.isfinite(found).all() and (found == found[0]).all()


def test_the_weights_serve_any_number_of_frames(clips, tmp_path):
    teacher = learn(clips, 3)
    teacher.save(tmp_path / "teacher")
    batch = clips.batch(np.arange(3))
    np.testing.assert_array_equal(KMeansTeacher.load(tmp_path / "teacher", 3).embed(*batch), teacher.embed(*batch))
    loaded = KMeansTeacher.load(tmp_path / "teacher")
    np.testing.assert_array_equal(loaded.embed(*batch), learn(clips, 1).embed(*batch))


def test_a_store_of_several_vectors_gives_their_mean_or_all(clips, tmp_path):
    teacher, ids = learn(clips, 3), clips.manifest.ids
    store = embed(clips, clips.hashes(), teacher, tmp_path / "store")
    assert (store.frames, store.dim, store.data.shape[1]) == (3, 24, 72)
    expected = teacher.embed(*clips.batch(np.arange(4))).reshape(4, 3, 24)
    np.testing.assert_allclose(store.take(ids[:4], over_time=True), expected, atol=1e-6)
    np.testing.assert_allclose(store.take(ids[:4]), expected.mean(1), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(store), store.take(ids))
    assert embed(clips, clips.hashes(), teacher, tmp_path / "store").ids == ids  # as it stands
    with pytest.raises(StoreError, match="other settings"):
        embed(clips, clips.hashes(), learn(clips, 1), tmp_path / "store")
    with pytest.raises(ValueError, match="3 vectors per clip; give their mean"):
        Compressor(4, method="pca").fit(store)
    copy = embed(clips, clips.hashes(), StoredTeacher(tmp_path / "store", clips.manifest), tmp_path / "copy")
    np.testing.assert_array_equal(copy.take(ids, over_time=True), store.take(ids, over_time=True))


def test_somebodys_vectors_over_time_are_read(tones, tmp_path):
    manifest = Manifest.read(tones)
    vectors = np.random.default_rng(0).normal(size=(len(manifest), 3, 5)).astype(np.float32)
    np.save(tmp_path / "e.npy", vectors)
    np.savez(tmp_path / "e.npz", ids=np.array(manifest.ids), embeddings=vectors)
    for name in ("e.npy", "e.npz"):
        teacher = StoredTeacher(tmp_path / name, manifest)
        assert (teacher.frames, teacher.dim) == (3, 5)
        np.testing.assert_allclose(teacher.rows(manifest.ids[4:6]), vectors[4:6].mean(1), rtol=1e-5)
        clips = Clips(manifest, 16_000, 1.0)
        store = embed(clips, [""] * len(manifest), teacher, tmp_path / f"{name}.store")
        np.testing.assert_array_equal(store.take(manifest.ids, over_time=True), vectors)
    np.save(tmp_path / "e.npy", vectors[..., None])
    with pytest.raises(StoreError, match=r"over time, not \(24, 3, 5, 1\)"):
        StoredTeacher(tmp_path / "e.npy", manifest)


@pytest.mark.parametrize("frames", [0, 4, 2.0, "3", True])
def test_a_store_whose_rows_do_not_hold_so_many_vectors_is_refused(tmp_path, frames):
    write_store(tmp_path / "s", ["a"], ["h"], 6, {}, lambda rows: np.zeros((len(rows), 6)))
    meta = tmp_path / "s/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"settings": {"frames": frames}}))
    with pytest.raises(StoreError, match="do not hold"):
        EmbeddingStore.open(tmp_path / "s")


def test_a_run_and_the_command_line_teach_over_time(tmp_path):
    manifest = write_tones(tmp_path / "home", groups=4, clips=2, name="home")
    over_time = {"frames": True, "stage_weights": [0, 1, 1]}
    training = {"roll": 0.0, "mixup": 0.3, "steps": 6, "evaluate_every": 3, "batch_size": 8}
    variants = [
        {"name": "frames", "transfer": {"method": "embedding", **over_time}},
        {"name": "kd", "transfer": {"method": "embedding_kd", **over_time}, "training": {"roll": 0.0, "mixup": 0.0}},
        {"name": "pooled", "transfer": {"method": "compressed"}},
        {"name": "running", "transfer": {"method": "clip_teacher"}},
    ]
    content = tiny(tmp_path, seeds=[0], split={"folds": 2, "validation": 0.5}, variants=variants, training=training)
    content["data"]["cross"], content["teacher"]["frames"] = [], 3
    finished = run(parse(content), tmp_path / "run")
    assert {"frames", "kd", "pooled", "running"} <= set(finished.scores["variant"])
    for folder in (finished.folder / "stages/embeddings").iterdir():
        store = EmbeddingStore.open(folder)
        assert (store.frames, store.dim) == (3, 24)

    def invoke(*arguments):
        settings = ["training.roll=0", "training.steps=2", "student.width=16", "audio.n_mels=24"]
        if "embedding" in arguments:
            settings.append("transfer.frames=true")
        options = [part for setting in settings for part in ("--set", setting)]
        done = CliRunner().invoke(group, [*map(str, arguments), *options])
        assert done.exit_code == 0, done.output
        return done.output

    small = [part for key, value in SMALL.items() for part in ("--set", f"teacher.{key}={value}")]
    vectors, frames = tmp_path / "vectors", ["--set", "teacher.frames=3"]
    assert "24 dimensions 3 times" in invoke(
        "embed", manifest, "--teacher", "kmeans", "--out", vectors, *small, *frames
    )
    again = tmp_path / "again"
    invoke("embed", manifest, "--teacher", f"kmeans:{vectors}.teacher", "--out", again, *frames)
    np.testing.assert_array_equal(EmbeddingStore.open(again).data, EmbeddingStore.open(vectors).data)
    invoke("distill", manifest, "--targets", vectors, "--transfer", "embedding", "--out", tmp_path / "student")
