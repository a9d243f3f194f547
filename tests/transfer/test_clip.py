"""Contrast with class means and with the clips' own embeddings: terms, gradients, training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.settings import transfer_settings
from helpers.transfer_cases import (
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

from embcomp.data.labels import Labels
from embcomp.errors import ConfigError, DataError
from embcomp.losses import prediction_loss, softmax_twice_loss
from embcomp.students import StudentOutput
from embcomp.transfer import Batch, build_transfer

CLIP = ("clip_prototypes", "clip_samples", "clip_teacher")


def class_means(vectors, labels):
    return torch.stack([torch.from_numpy(vectors[labels.index == number]).mean(0) for number in range(3)])


def test_prototypes_are_the_class_means():
    data = examples()
    transfer = prepared("clip_prototypes", data)
    torch.testing.assert_close(transfer.prototypes, class_means(teacher_vectors(), data.labels))


def test_prototypes_are_of_so_many_labelled_clips_at_most():
    data, vectors = examples(unlabelled=24), teacher_vectors()
    vectors[24:] = 1e6  # without a label
    transfer = prepared("clip_prototypes", data, vectors, prototypes=1)
    for number in range(3):
        own = torch.from_numpy(vectors[:24][data.labels.index[:24] == number])
        assert (own == transfer.prototypes[number]).all(1).sum() == 1
    everything = prepared("clip_prototypes", data, vectors, prototypes=8)
    torch.testing.assert_close(everything.prototypes, class_means(vectors[:24], data.labels.select(np.arange(24))))
    some = prepared("clip_prototypes", data, vectors, prototypes=3)
    assert not torch.allclose(some.prototypes, everything.prototypes, atol=1e-3)


def test_a_clip_of_several_classes_is_in_the_mean_of_each():
    matrix = np.array([[1, 1, 0], [1, 0, np.nan], [0, 0, 1]], dtype=np.float32)
    vectors = np.diag([2.0, 4.0, 6.0]).astype(np.float32)
    data = Labels(("a", "b", "c"), matrix, True)
    transfer = build_transfer(transfer_settings(method="clip_prototypes"), True)
    transfer.prepare(vectors, data, WIDTH)
    expected = [[1.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 6.0]]
    assert transfer.prototypes.tolist() == expected


@pytest.mark.parametrize("method", CLIP)
def test_faithful_is_the_published_loss(method):
    data, student = examples(), new_student()
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    transfer = prepared(method, data, faithful=True)
    vectors = teacher_vectors()
    vectors = class_means(vectors, data.labels) if method == "clip_prototypes" else torch.from_numpy(vectors)
    target = torch.from_numpy(data.labels.index) if method == "clip_prototypes" else torch.arange(48)
    cosines = F.normalize(output.embedding, dim=1) @ F.normalize(transfer.projection(vectors), dim=1).T
    terms = transfer.loss(output, batch)
    torch.testing.assert_close(terms["contrast"], 0.5 * F.cross_entropy(cosines, target))
    torch.testing.assert_close(terms["prediction"], softmax_twice_loss(output.logits, batch.labels))


@pytest.mark.parametrize("method", CLIP)
def test_by_default_there_is_a_temperature_both_directions_and_one_softmax(method):
    data, student = examples(9), new_student()
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    transfer = prepared(method, data, weight=0.25, contrast_temperature=0.2)
    vectors, matches = transfer.partners(batch)
    logits = F.normalize(output.embedding, dim=1) @ F.normalize(transfer.projection(vectors), dim=1).T / 0.2
    rows = F.cross_entropy(logits, matches / matches.sum(1, keepdim=True))
    columns = F.cross_entropy(logits.T, matches.T / matches.T.sum(1, keepdim=True))
    terms = transfer.loss(output, batch)
    torch.testing.assert_close(terms["contrast"], 0.25 * (rows + columns) / 2)
    torch.testing.assert_close(terms["prediction"], prediction_loss(output.logits, batch.labels, False))


@pytest.mark.parametrize("method", CLIP[1:])
def test_a_clip_drawn_twice_is_its_own_partner_both_times(method):
    data = examples()
    transfer = prepared(method, data)
    vectors, matches = transfer.partners(batch_of(data, [4, 1, 4]))
    assert matches.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    torch.testing.assert_close(vectors, torch.from_numpy(teacher_vectors()[[4, 1, 4]]))
    faithful = prepared(method, data, faithful=True)
    assert torch.equal(faithful.partners(batch_of(data, [4, 1, 4]))[1], torch.eye(3))


def test_a_class_without_a_mean_is_not_compared_with():
    labels = Labels(("c0", "c1", "c2", "c3"), np.pad(examples().labels.matrix, ((0, 0), (0, 1))))
    transfer = build_transfer(transfer_settings(method="clip_prototypes"), False)
    transfer.prepare(teacher_vectors(), labels, WIDTH)
    batch = Batch(torch.empty(0), torch.empty(0), torch.from_numpy(labels.matrix[:6]), torch.arange(6))
    _, matches = transfer.partners(batch)
    assert matches[:, 3].isnan().all() and not matches[:, :3].isnan().any()
    output = StudentOutput(torch.zeros(6, 4), torch.randn(6, WIDTH), torch.zeros(6, 1, 1))
    assert torch.isfinite(transfer.loss(output, batch)["contrast"])


@pytest.mark.parametrize("method", CLIP)
@pytest.mark.parametrize("faithful", [False, True])
def test_which_term_moves_what(method, faithful):
    data, student = examples(), new_student()
    transfer = prepared(method, data, faithful=faithful)
    terms = terms_of(transfer, student, batch_of(data))
    assert names(transfer) == {"projection.weight", "projection.bias"}
    assert moved_by(terms["contrast"], student) == names(student, without="classify")
    assert moved_by(terms["contrast"], transfer) == names(transfer)
    assert moved_by(terms["prediction"], student) == names(student)
    assert moved_by(terms["prediction"], transfer) == set()


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("method", CLIP)
def test_clips_without_a_label_are_contrasted_where_no_label_is_needed(method, faithful):
    data, student = examples(unlabelled=24), new_student()
    transfer = prepared(method, data, faithful=faithful)
    batch = batch_of(data, [0, 1, 2, 40, 41])
    output = student(batch.features, batch.lengths)
    output.embedding.retain_grad()
    transfer.loss(output, batch)["contrast"].backward()
    learns = (output.embedding.grad != 0).any(1)
    assert torch.isfinite(output.embedding.grad).all()
    assert learns.tolist() == [True] * 3 + [method != "clip_prototypes"] * 2
    assert transfer.needs_labels == (method == "clip_prototypes")


@pytest.mark.parametrize("method", CLIP)
def test_a_batch_without_any_label_is_no_trouble(method):
    data = examples(unlabelled=24)
    terms = terms_of(prepared(method, data), new_student(), batch_of(data, [40, 41, 42]))
    assert terms["prediction"].item() == 0
    assert (terms["contrast"].item() > 0) == (method != "clip_prototypes")


@pytest.mark.parametrize("method", CLIP)
def test_training_moves_everything_but_what_comes_from_the_teacher(method):
    check_training_moves_what_is_trainable_and_nothing_else(prepared(method, examples()), examples())


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("method", CLIP)
def test_a_short_training_learns(method, faithful):
    data = examples(unlabelled=24)
    _, result = trained(prepared(method, data, faithful=faithful), data)
    assert result.best_score > 0.8
    assert result.history[-1]["contrast"] < (0.98 if faithful else 0.9) * result.history[0]["contrast"]


@pytest.mark.parametrize("method", CLIP)
def test_the_published_code_knows_one_label_per_clip(method):
    with pytest.raises(ConfigError, match=r"transfer\.faithful: .* set it to false"):
        prepared(method, examples(multi_label=True), faithful=True)
    data = examples(multi_label=True)
    assert all(
        torch.isfinite(term) for term in terms_of(prepared(method, data), new_student(), batch_of(data)).values()
    )


def test_class_means_need_a_label():
    with pytest.raises(
        DataError, match="clip_prototypes found no labelled clip to average; label some, or use .*clip_samples"
    ):
        prepared("clip_prototypes", examples(unlabelled=48))
