"""Mixup: what is mixed with what, in inputs, labels and the targets of every method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.transfer_cases import (
    DIM,
    FAST,
    batch_of,
    check_training_moves_what_is_trainable_and_nothing_else,
    examples,
    new_student,
    prepared,
    teacher_vectors,
    terms_of,
    trained,
)

from embcomp.audio.augment import augment, mix, mixing_shares
from embcomp.compression import Compressor
from embcomp.config import TrainingConfig
from embcomp.losses import contrastive_loss, multiclass_kd, prediction_loss
from embcomp.training.loop import _Run
from embcomp.transfer import Mixing, Transfer

ROWS, PARTNERS, SHARES = [0, 1, 2, 3, 0], [4, 8, 2, 40, 6], [0.5, 0.7, 0.9, 1.0, 0.5]
VECTOR_METHODS = {
    "embedding": {},
    "embedding over time": {"frames": True},
    "compressed": {},
    "joint": {"schedule": "joint"},
    "regression": {"head": "mlp"},
    "clip_samples": {},
}


def mixing(data) -> Mixing:
    return Mixing(torch.tensor(PARTNERS), data.lengths[PARTNERS], torch.tensor(SHARES))


def mixed_batch(data):
    """Five clips of `data` with their partners; features stay, for no method looks at them."""
    found = mixing(data)
    batch = batch_of(data, ROWS)
    return replace(batch, labels=found.of(batch.labels, batch_of(data, PARTNERS).labels), mixing=found)


def mixed_by_hand(table):
    shares = np.array(SHARES, dtype=np.float32).reshape(-1, *[1] * (table.ndim - 1))
    return shares * table[ROWS] + (1 - shares) * table[PARTNERS]


def method(name, data, vectors=None):
    compressor, options = None, VECTOR_METHODS.get(name, {})
    if name == "joint":
        compressor = Compressor(4, method="linear", objective="task", epochs=0)
        compressor = compressor.fit(teacher_vectors(), examples().labels.index).to_module()
    name = {"joint": "compressed", "embedding over time": "embedding"}.get(name, name)
    return prepared(name, data, vectors, compressor, **options)


@pytest.mark.parametrize("concentration", [0.3, 1.0, 8.0])
def test_shares_are_the_larger_of_a_beta_and_its_complement(concentration):
    from scipy.stats import beta, kstest

    found = mixing_shares(2000, concentration, torch.Generator().manual_seed(0)).numpy().astype(np.float64)
    assert found.min() >= 0.5 and found.max() <= 1
    drawn = beta(concentration, concentration)
    assert kstest(found, lambda x: drawn.cdf(x) - drawn.cdf(1 - x)).pvalue > 0.01


def test_shares_follow_the_generator():
    first, again, other = (mixing_shares(9, 0.3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_inputs_are_mixed_frame_by_frame_up_to_the_clips_own_end():
    generator = torch.Generator().manual_seed(0)
    features, partners = torch.randn(4, 3, 6, generator=generator), torch.randn(4, 3, 8, generator=generator)
    lengths, partner_lengths = torch.tensor([6, 4, 6, 5]), torch.tensor([6, 8, 2, 3])
    shares = torch.tensor([0.5, 0.75, 0.6, 1.0])
    before = features.clone()
    found = mix(features, lengths, partners, partner_lengths, shares)
    assert torch.equal(features, before)
    for row, length in enumerate(lengths.tolist()):
        other = partners[row, :, : partner_lengths[row]]
        heard = torch.cat([other] * 4, dim=1)[:, :length]  # repeated, or cut
        expected = shares[row] * features[row, :, :length] + (1 - shares[row]) * heard
        torch.testing.assert_close(found[row, :, :length], expected)
        assert torch.equal(found[row, :, length:], features[row, :, length:])
    assert torch.equal(found[3], features[3])


def test_labels_are_soft_and_unknown_where_either_is_with_a_share():
    own = torch.tensor([[1.0, 0.0], [1.0, torch.nan], [torch.nan, 0.0], [1.0, 0.0]])
    partner = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, torch.nan], [torch.nan, 1.0]])
    none = torch.zeros(4, dtype=torch.long)
    found = Mixing(none, none, torch.tensor([0.75, 0.5, 0.5, 1.0])).of(own, partner)
    expected = torch.tensor([[0.75, 0.0], [0.5, torch.nan], [torch.nan, torch.nan], [1.0, 0.0]])
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_task_loss_of_mixed_labels_is_the_mix_of_the_losses(multi_label):
    data = examples(multi_label=multi_label)
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    own, partner = batch_of(data, ROWS).labels, batch_of(data, PARTNERS).labels
    each = [
        [float(prediction_loss(logits[row : row + 1], labels[row : row + 1], multi_label)) for row in range(5)]
        for labels in (own, partner)
    ]
    expected = np.mean([share * a + (1 - share) * b for share, a, b in zip(SHARES, *each)])
    assert float(prediction_loss(logits, mixed_batch(data).labels, multi_label)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", VECTOR_METHODS)
def test_a_mixed_clip_is_compared_with_the_mix_of_the_vectors(name):
    data = examples()
    data.lengths[:] = 20  # moments of the two meet where both are of one length
    vectors = np.stack([teacher_vectors(seed=seed) for seed in range(3)], 1) if "time" in name else teacher_vectors()
    batch, student = mixed_batch(data), new_student()
    found = terms_of(method(name, data, vectors), student, batch)
    by_hand = np.concatenate([mixed_by_hand(vectors), vectors[5:]])
    plain = replace(batch, rows=torch.arange(5), mixing=None)
    expected = terms_of(method(name, data, by_hand), student, plain)
    assert set(found) == set(expected)
    for term, value in found.items():
        torch.testing.assert_close(value, expected[term], msg=term)
    unmixed = terms_of(method(name, data, vectors), student, replace(batch, mixing=None))
    changed = [term for term, value in found.items() if not torch.allclose(value, unmixed[term], rtol=1e-3)]
    assert changed and "prediction" not in changed


@pytest.mark.parametrize("name", ["logit_kd", "embedding_kd"])
def test_the_linear_teacher_is_asked_about_the_mixed_embedding(name):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data, vectors, student = examples(), teacher_vectors(), new_student()
    batch = mixed_batch(data)
    output = student(batch.features, batch.lengths)
    options = {"kd_weight": 1.0} if name == "embedding_kd" else {}
    found = prepared(name, data, weight=1.0, **options).loss(output, batch)["kd"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200)).fit(vectors, data.labels.index)
    scores = torch.from_numpy(model.decision_function(mixed_by_hand(vectors)).astype(np.float32))
    torch.testing.assert_close(found, multiclass_kd(output.logits, scores), rtol=1e-4, atol=1e-6)


def test_class_means_are_looked_for_in_proportion_to_the_labels():
    data, student = examples(), new_student()
    transfer = prepared("clip_prototypes", data, weight=1.0)
    batch = mixed_batch(data)
    output = student(batch.features, batch.lengths)
    found = transfer.loss(output, batch)["contrast"]
    logits = (
        F.normalize(output.embedding, dim=1) @ F.normalize(transfer.projection(transfer.prototypes), dim=1).T / 0.07
    )
    rows = -(batch.labels * logits.log_softmax(1)).sum(1).mean()
    columns = -(batch.labels / batch.labels.sum(0) * logits.log_softmax(0)).sum(0).mean()
    torch.testing.assert_close(found, (rows + columns) / 2, rtol=1e-4, atol=1e-4)


def test_contrast_takes_soft_partners():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.2, 0.2, 0.6]])
    torch.testing.assert_close(contrastive_loss(logits, soft, symmetric=False), F.cross_entropy(logits, soft))


@pytest.mark.parametrize("faithful", [False, True])
def test_the_partner_of_a_mixed_clip_is_its_own_mix(faithful):
    data = examples()
    transfer = prepared("clip_samples", data, faithful=faithful)
    rows, partners = torch.tensor([0, 0, 0, 5]), torch.tensor([7, 7, 8, 7])
    found = Mixing(partners, data.lengths[partners], torch.tensor([0.6, 0.8, 0.6, 0.6]))
    _, matches = transfer.partners(replace(batch_of(data, rows), mixing=found))
    expected = torch.eye(4)
    if not faithful:
        expected[0, 1] = expected[1, 0] = 1  # two mixes of the same two clips
    assert torch.equal(matches, expected)


@pytest.mark.parametrize(
    "length, partner_length, expected",
    [(12, 12, [0, 1, 2]), (12, 4, [1, 1, 1]), (12, 6, [1, 0, 2]), (6, 12, [0, 0, 1]), (12, 1, [0, 0, 0])],
)
def test_over_time_a_partner_brings_the_vectors_that_sound_at_the_moment(length, partner_length, expected):
    data = examples(count=6)
    batch = replace(batch_of(data, [0]), lengths=torch.tensor([length]))
    batch = replace(batch, mixing=Mixing(torch.tensor([1]), torch.tensor([partner_length]), torch.tensor([0.5])))
    table = torch.zeros(6, 3, 1)
    table[1, :, 0] = torch.tensor([0.0, 1.0, 2.0])
    assert (2 * batch.mixed(table.__getitem__)).flatten().tolist() == expected


def one_batch(**settings):
    data = examples()
    run = _Run(new_student(), Transfer(), data, TrainingConfig(**{**FAST.__dict__, **settings}), 7, "cpu")
    return data, run, run.batch()


def test_without_mixup_the_draws_are_those_of_batch_and_augmentation_alone():
    data, run, batch = one_batch(mixup=0.0)
    generator = torch.Generator().manual_seed(7)
    rows = torch.multinomial(run.weights, 16, replacement=True, generator=generator)
    longest = int(data.lengths[rows].max())
    expected = augment(data.features[rows][..., :longest], data.lengths[rows], run.config, generator)
    assert batch.mixing is None and torch.equal(batch.rows, rows)
    torch.testing.assert_close(batch.features, expected)  # the mean of a clip, in other order
    assert torch.equal(run.generator.get_state(), generator.get_state())


def test_a_mixed_batch_holds_what_it_says():
    data, _, batch = one_batch(mixup=1.0, freq_mask=0, time_mask=0.0, roll=0.0, gain=0.0, equaliser=0.0)
    partners = batch.mixing.partners
    assert torch.equal(batch.mixing.lengths, data.lengths[partners]) and not torch.equal(partners, batch.rows)
    assert torch.equal(batch.lengths, data.lengths[batch.rows])
    expected = mix(
        data.features[batch.rows], batch.lengths, data.features[partners], data.lengths[partners], batch.mixing.shares
    )
    torch.testing.assert_close(batch.features, expected[..., : batch.features.shape[2]])
    labels = torch.from_numpy(data.labels.matrix)
    torch.testing.assert_close(batch.labels, batch.mixing.of(labels[batch.rows], labels[partners]))
    assert ((batch.labels > 0) & (batch.labels < 1)).any()


def test_training_with_mixup_learns_and_follows_its_seed():
    first, result = trained(Transfer(), examples(), mixup=0.3)
    again, _ = trained(Transfer(), examples(), mixup=0.3)
    other, _ = trained(Transfer(), examples())
    weights = [student.classify.weight for student in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert result.best_score > 0.8


@pytest.mark.parametrize("name", [*VECTOR_METHODS, "logit_kd", "embedding_kd", "clip_prototypes", "concepts"])
def test_training_with_mixup_moves_what_is_trainable_and_nothing_else(name):
    data = examples(unlabelled=12)
    vectors = np.random.default_rng(0).normal(size=(48, 2, DIM)).astype(np.float32) if "time" in name else None
    transfer = method(name, data, vectors)
    if name == "concepts":
        frozen = transfer.classifier.state_dict()
        trained(transfer, data, steps=20, mixup=0.5)
        assert all(torch.equal(value, frozen[key]) for key, value in transfer.classifier.state_dict().items())
        return
    check_training_moves_what_is_trainable_and_nothing_else(transfer, data, mixup=0.5, roll=0.0)
