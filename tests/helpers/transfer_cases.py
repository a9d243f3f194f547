"""What the tests of transfer methods share: clips, a student, and who moves whom."""

from __future__ import annotations

import numpy as np
import torch

from embcomp.config import TrainingConfig
from embcomp.data.labels import Labels, encode
from embcomp.students import build_student
from embcomp.training.examples import Examples
from embcomp.training.loop import train
from embcomp.transfer import Batch, build_transfer
from helpers.settings import student_settings, transfer_settings

CLASSES, WIDTH, DIM = 3, 16, 10
# Without weight decay, which would move what no gradient reaches.
FAST = TrainingConfig(
    steps=100, batch_size=16, evaluate_every=10, checkpoint_every=100, learning_rate=5e-3, weight_decay=0.0, patience=0,
    freq_mask=2, roll=0.05, equaliser=0.0,
)  # fmt: skip


def examples(count=48, seed=0, frames=20, unlabelled=0, multi_label=False) -> Examples:
    """Three classes, each loud in its own third of the bands; the last `unlabelled` clips have no label."""
    generator = torch.Generator().manual_seed(seed)
    label = (torch.arange(count) % CLASSES).tolist()
    features = torch.randn(count, 24, frames, generator=generator)
    for row in range(count):
        features[row, 8 * label[row] : 8 * label[row] + 8] += 1.5
    lengths = torch.randint(frames // 2, frames + 1, (count,), generator=generator)
    matrix = encode([f"c{number}" for number in label], ["c0", "c1", "c2"]).matrix
    matrix[count - unlabelled :] = np.nan
    return Examples(features, lengths, Labels(("c0", "c1", "c2"), matrix, multi_label))


def teacher_vectors(count=48, seed=0, noise=0.5) -> np.ndarray:
    """Embeddings (n, DIM) that tell the classes of `examples` apart."""
    rng = np.random.default_rng(seed)
    centres = 2 * np.random.default_rng(99).normal(size=(CLASSES, DIM))
    return (centres[np.arange(count) % CLASSES] + noise * rng.normal(size=(count, DIM))).astype(np.float32)


def new_student(seed=0):
    torch.manual_seed(seed)
    return build_student(student_settings(width=16, embedding=WIDTH, dropout=0.0), CLASSES, 24)


def prepared(method, data, vectors=None, compressor=None, **options):
    """A transfer method ready for the clips of `data`."""
    torch.manual_seed(1)
    vectors = teacher_vectors(len(data.labels)) if vectors is None else vectors
    teacher = vectors.__getitem__ if method == "clip_teacher" else None
    transfer = build_transfer(transfer_settings(method=method, **options), data.labels.multi_label, compressor, teacher)
    transfer.prepare(vectors if teacher is None else None, data.labels, WIDTH)
    return transfer


def batch_of(data, rows=None) -> Batch:
    """Clips of `data`, all or those of `rows`, as the loop would hand them over."""
    rows = torch.arange(len(data.labels)) if rows is None else torch.as_tensor(rows)
    return Batch(data.features[rows], data.lengths[rows], torch.from_numpy(data.labels.matrix)[rows], rows)


def terms_of(transfer, student, batch) -> dict:
    """The loss terms of one batch."""
    return transfer.loss(student(batch.features, batch.lengths), batch)


def moved_by(term, module) -> set[str]:
    """Names of the parameters of `module` that a loss term has a gradient for."""
    named = dict(module.named_parameters())
    if not named:
        return set()
    found = torch.autograd.grad(term, list(named.values()), retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(named, found) if gradient is not None and gradient.abs().sum() > 0}


def names(module, without: str = "\0") -> set[str]:
    """Names of all parameters of `module` but those that start with `without`."""
    return {name for name, _ in module.named_parameters() if not name.startswith(without)}


def trained(transfer, data, student=None, **settings):
    """The student and the history of a short training."""
    student = student or new_student()
    config = TrainingConfig(**{**FAST.__dict__, **settings})
    result = train(student, transfer, data, examples(seed=1), config, seed=0)
    return student, result


def check_training_moves_what_is_trainable_and_nothing_else(transfer, data, **settings) -> None:
    """Every parameter of student and method changes in a short training, no buffer of the method does."""
    student = new_student()
    modules = {"student": student, "method": transfer}
    before = {(kind, name): value.clone() for kind, part in modules.items() for name, value in part.named_parameters()}
    frozen = {name: value.clone() for name, value in transfer.named_buffers()}
    trained(transfer, data, student, steps=20, **settings)
    after = {(kind, name): value for kind, part in modules.items() for name, value in part.named_parameters()}
    assert not [name for name in before if torch.equal(before[name], after[name])]
    assert frozen and all(torch.equal(value, frozen[name]) for name, value in transfer.named_buffers())
