"""Clips that stay on disk: the same training to the bit, and memory that does not grow with them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from helpers.settings import student_settings, transfer_settings
from helpers.transfer_cases import FAST, WIDTH, examples, teacher_vectors

from embcomp.audio.features import Features
from embcomp.config import AudioConfig, TrainingConfig, VariantConfig
from embcomp.storage.store import write_store
from embcomp.students import build_student
from embcomp.students.classifier import Classifier
from embcomp.training.assembly import Lesson, Part, train_student
from embcomp.training.examples import Examples, Joined, Streamed, joined
from embcomp.training.loop import train
from embcomp.transfer import build_transfer

MELS = 24


def stored(data: Examples, path) -> Features:
    """The clips of `data` as a store of log-mels."""
    rows = np.concatenate([data.features.flatten(1).numpy(), data.lengths.numpy()[:, None]], axis=1)
    names = [f"{row}" for row in range(len(rows))]
    return Features(write_store(path, names, names, rows.shape[1], {}, lambda numbers: rows[numbers]), MELS)


def silent_after_the_end(data: Examples) -> Examples:
    """As log-mels are kept: zeros past a clip's last frame."""
    mask = torch.arange(data.features.shape[-1]) < data.lengths.unsqueeze(1)
    return Examples(data.features * mask.unsqueeze(1), data.lengths, data.labels)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Labelled clips, unlabelled longer ones in memory, and the same on disk."""
    labelled = silent_after_the_end(examples(24))
    memory = silent_after_the_end(examples(40, seed=2, frames=30, unlabelled=40))
    features = stored(memory, tmp_path_factory.mktemp("store") / "features")
    return labelled, memory, Streamed(features.reader(features.store.ids), memory.labels)


def learned(fit, norm="global", checkpoint=None, steps=12, stop_after=None):
    """Weights and history of a training on `fit`."""
    torch.manual_seed(0)
    student = build_student(student_settings(width=16, embedding=WIDTH, norm=norm, dropout=0.1), 3, MELS)
    transfer = build_transfer(transfer_settings(method="embedding"), False, None, None)
    transfer.prepare(teacher_vectors(len(fit.labels)), fit.labels, WIDTH)
    config = TrainingConfig(**{**FAST.__dict__, "steps": steps, "mixup": 0.3, "checkpoint_every": 5})

    def stop(done):
        nonlocal stop_after
        if stop_after is not None and done:
            stop_after -= 1
            if not stop_after:
                raise KeyboardInterrupt

    result = train(student, transfer, fit, examples(seed=1), config, seed=3, checkpoint=checkpoint, progress=stop)
    return student.state_dict(), result.history


def same(one, other) -> bool:
    return one[1] == other[1] and all(torch.equal(value, other[0][name]) for name, value in one[0].items())


def test_batches_are_those_of_one_table(parts):
    labelled, memory, disk = parts
    frames = max(part.features.shape[-1] for part in (labelled, memory))
    table = torch.zeros(64, MELS, frames)
    table[:24, :, : labelled.features.shape[-1]], table[24:] = labelled.features, memory.features
    lengths = torch.cat([labelled.lengths, memory.lengths])
    weights = torch.rand(64, dtype=torch.float64)
    for fit in (Joined([labelled, memory]), Joined([labelled, disk]), joined([labelled, memory])):
        drawn = torch.multinomial(weights, 16, replacement=True, generator=torch.Generator().manual_seed(5))
        rows, found, features = fit.draw(weights, 16, torch.Generator().manual_seed(5))
        assert torch.equal(rows, drawn) and torch.equal(found, lengths[drawn])
        assert torch.equal(features, table[drawn][..., : int(found.max())])
        assert fit.labels.labelled.tolist() == [True] * 24 + [False] * 40


@pytest.mark.parametrize("norm", ["global", "clip"])
def test_a_training_from_disk_is_that_from_memory(parts, norm):
    labelled, memory, disk = parts
    from_disk = learned(Joined([labelled, disk]), norm)
    assert same(learned(Joined([labelled, memory]), norm), from_disk)
    assert joined([labelled, disk]).held is None and joined([labelled, memory]).held is not None
    assert same(learned(joined([labelled, memory]), norm), from_disk)


def test_an_interrupted_training_from_disk_goes_on(parts, tmp_path):
    labelled, _, disk = parts
    fit, checkpoint = Joined([labelled, disk]), tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        learned(fit, checkpoint=checkpoint, stop_after=7)
    assert checkpoint.exists()
    assert same(learned(fit, checkpoint=checkpoint), learned(fit))


def test_statistics_part_by_part_are_those_of_all(parts, monkeypatch):
    labelled, memory, disk = parts
    monkeypatch.setattr("embcomp.training.examples.BLOCK", 7)
    norm = build_student(student_settings(width=16, norm="global"), 3, MELS).norm
    norm.fit_parts(Joined([labelled, disk]).parts())
    frames = torch.cat(
        [part.features[row, :, : part.lengths[row]] for part in (labelled, memory) for row in range(len(part.labels))],
        dim=1,
    ).double()
    assert torch.allclose(norm.mean.double(), frames.mean(1), atol=1e-6)
    assert torch.allclose(norm.deviation.double(), frames.std(1, correction=0), atol=1e-4)


def test_memory_does_not_grow_with_the_pool(tmp_path, monkeypatch):
    """Of 40 MB on disk, where that is too much for memory, a training has a batch at a time, also where it looks at all of them for their statistics."""
    monkeypatch.setattr("embcomp.training.assembly.IN_MEMORY", 30 << 20)
    frames, count = 80, 5000
    values = np.random.default_rng(0).normal(size=(100, MELS * frames + 1)).astype(np.float32)
    values[:, -1] = frames
    labelled = examples(24, frames=frames)
    names = [f"{row}" for row in range(count)]
    store = write_store(
        tmp_path / "pool", names, names, values.shape[1], {}, lambda rows: values[rows % 100], batch_size=1000
    )
    assert store.data.nbytes > 38e6
    vectors = write_store(tmp_path / "vectors", names, names, 4, {}, lambda rows: values[rows % 100, :4])
    own = write_store(tmp_path / "own", names[:24], names[:24], 4, {}, lambda rows: values[rows, :4])
    fit = Part(names[:24], names[:24], stored(labelled, tmp_path / "labelled"), own, labelled.labels)
    pool = Part(names, [f"pool {name}" for name in names], Features(store, MELS), vectors)
    variant = VariantConfig(
        transfer=transfer_settings(method="embedding"),
        student=student_settings(width=16, norm="global"),
        training=TrainingConfig(steps=4, batch_size=8, evaluate_every=4, labelled=0.2),
    )
    tracemalloc.start()
    try:
        student = train_student(
            variant, AudioConfig(n_mels=MELS), Lesson(fit, fit, [pool]), tmp_path / "student", about={}, seed=0
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6
    assert len(student.seen) == 24 + count and Classifier.load(tmp_path / "student").classes == student.classes
    assert isinstance(store.data, np.memmap)


@pytest.mark.parametrize("method", ["embedding", "none"])
def test_labelled_clips_beyond_the_limit_are_read_from_disk_to_the_same_student(method, tmp_path, monkeypatch):
    data, held = silent_after_the_end(examples(40)), silent_after_the_end(examples(12, seed=1))
    names = [f"{row}" for row in range(40)]
    vectors = write_store(tmp_path / "vectors", names, names, 4, {}, lambda rows: teacher_vectors(40)[rows, :4])
    fit = Part(names, names, stored(data, tmp_path / "fit"), vectors, data.labels)
    validation = Part(names[:12], names[:12], stored(held, tmp_path / "held"), None, held.labels)
    variant = VariantConfig(
        transfer=transfer_settings(method=method),
        student=student_settings(width=16),
        training=TrainingConfig(steps=8, batch_size=8, evaluate_every=4),
    )

    def trained(name):
        return train_student(
            variant, AudioConfig(n_mels=MELS), Lesson(fit, validation), tmp_path / name, about={}, seed=0
        )

    trained("memory")
    monkeypatch.setattr("embcomp.training.assembly.IN_MEMORY", 4 * MELS)
    monkeypatch.setattr(Features, "load", lambda self, ids: pytest.fail("all log-mels were read at once"))
    trained("disk")
    for name in ("weights.safetensors", "history.json"):
        assert (tmp_path / "disk" / name).read_bytes() == (tmp_path / "memory" / name).read_bytes()
