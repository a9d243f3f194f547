"""A student learns the same from targets and unlabelled clips in shards as from those of one store, and from targets on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.settings import student_settings
from helpers.transfer_cases import FAST
from scipy import stats

from embcomp.audio.features import Features
from embcomp.config import AudioConfig, TrainingConfig, parse
from embcomp.data.labels import encode
from embcomp.storage.merging import merge_stores
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.training import assembly, examples
from embcomp.training.assembly import Lesson, Part, train_student

MELS, FRAMES, DIM, LABELLED, POOL = 24, 20, 6, 24, 40


def store(folder, name, rows, first=0):
    names = [f"{number}" for number in range(first, first + len(rows))]
    return write_store(folder / name, names, names, rows.shape[1], {"made": "up"}, lambda numbers: rows[numbers])


def halves(folder, name, rows):
    """The same rows as two stores joined."""
    middle = len(rows) // 3
    parts = [store(folder, f"{name}-1", rows[:middle]), store(folder, f"{name}-2", rows[middle:], middle)]
    return merge_stores([one.path for one in parts], folder / f"{name}-joined")


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Log-mels and vectors of clips with and without labels, each in one store and in shards."""
    folder, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    logmels = rng.normal(-5, 2, (LABELLED + POOL, MELS * FRAMES + 1)).astype(np.float32)
    logmels[:, -1] = FRAMES
    vectors = rng.standard_normal((LABELLED + POOL, DIM)).astype(np.float32)
    labels = encode([str(number % 3) for number in range(LABELLED)])

    def built(make) -> Lesson:
        features, targets = Features(make(folder, "logmels", logmels), MELS), make(folder, "targets", vectors)
        names = [f"{number}" for number in range(LABELLED + POOL)]
        fit = Part(names[:LABELLED], names[:LABELLED], features, targets, labels)
        pool = Part(names[LABELLED:], names[LABELLED:], features, targets)
        return Lesson(fit, fit.select(np.arange(0, LABELLED, 3)), [pool])

    return built(store), built(halves)


def weights(lesson, out) -> bytes:
    (variant,) = parse({"transfer": {"method": "embedding"}}).variants
    training = TrainingConfig(**{**FAST.__dict__, "steps": 8, "views": 0})
    variant = variant.__class__(
        **{**vars(variant), "training": training, "student": student_settings(width=8, embedding=8)}
    )
    train_student(variant, AudioConfig(n_mels=MELS), lesson, out, about={}, seed=0)
    return (out / "weights.safetensors").read_bytes()


def test_students_are_the_same_to_the_bit(lesson, tmp_path, monkeypatch):
    whole, joined = lesson
    assert isinstance(joined.fit.embeddings, EmbeddingStore) and len(joined.fit.embeddings.ids.parts) == 2
    first = weights(whole, tmp_path / "whole")
    assert weights(joined, tmp_path / "joined") == first
    # The same where there would be too many for memory.
    monkeypatch.setattr(assembly, "HELD", 0)
    monkeypatch.setattr(assembly, "BLOCK", 7)
    assert weights(joined, tmp_path / "disk") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "joined", "whole"]


def test_targets_on_disk_are_those_in_memory(lesson, tmp_path, monkeypatch):
    parts = [lesson[1].fit, *lesson[1].unlabelled]
    (variant,) = parse({"transfer": {"method": "embedding"}}).variants
    memory, _ = assembly._targets(variant, parts, None, tmp_path)
    assert not isinstance(memory, np.memmap)
    monkeypatch.setattr(assembly, "HELD", 0)
    monkeypatch.setattr(assembly, "BLOCK", 7)
    disk, _ = assembly._targets(variant, parts, None, tmp_path)
    assert isinstance(disk, np.memmap) and not list(tmp_path.iterdir())
    np.testing.assert_array_equal(disk, memory)


def test_draws_from_more_than_torch_takes_follow_the_weights(monkeypatch):
    monkeypatch.setattr(examples, "MOST", 100)
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0] * 70 + [9.0], dtype=torch.float64)
    rows = examples.drawn(weights, 60_000, torch.Generator().manual_seed(0))
    found = torch.bincount(rows, minlength=len(weights)).double()
    assert not found[weights == 0].any() and len(found) == len(weights)
    expected = 60_000 * weights / weights.sum()
    kept = weights > 0
    assert stats.chisquare(found[kept].numpy(), expected[kept].numpy()).pvalue > 1e-3
    again = examples.drawn(weights, 60_000, torch.Generator().manual_seed(0))
    assert torch.equal(rows, again)
