"""Soft labels of the target's classifier, and the classifier reused by the student."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.transfer_cases import (
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
from torch import nn

from embcomp.config import read_choice
from embcomp.errors import ConfigError, DataError
from embcomp.losses import multiclass_kd, prediction_loss
from embcomp.transfer.logistic import linear_classifier, logistic_scores


def test_without_soft_labels_nothing_changes():
    data, student = examples(), new_student()
    assert set(terms_of(prepared("compressed", data), student, batch_of(data))) == {"prediction", "distance"}


def test_soft_labels_share_the_transfer_term_with_the_distance():
    data, student = examples(unlabelled=12), new_student().eval()
    plain = terms_of(prepared("compressed", data, weight=0.8), student, batch_of(data))
    both = terms_of(prepared("compressed", data, weight=0.8, soft_labels=0.25), student, batch_of(data))
    torch.testing.assert_close(both["prediction"], plain["prediction"])
    torch.testing.assert_close(both["distance"], 0.75 * plain["distance"])
    batch = batch_of(data)
    scores = torch.from_numpy(logistic_scores(teacher_vectors(), data.labels))
    expected = multiclass_kd(student(batch.features, batch.lengths).logits, scores, 2.0)
    torch.testing.assert_close(both["kd"], 0.8 * 0.25 * expected)


def test_soft_labels_teach_the_classifier_from_clips_without_a_label():
    data, student = examples(unlabelled=12), new_student()
    transfer = prepared("compressed", data, soft_labels=0.5)
    batch = batch_of(data, range(36, 48))
    terms = terms_of(transfer, student, batch)
    assert moved_by(terms["kd"], student) == names(student) and float(terms["prediction"].detach()) == 0
    assert not any(name.startswith("classify") for name in moved_by(terms["distance"], student))


def test_soft_labels_need_targets_that_stay_and_some_label():
    with pytest.raises(ConfigError, match="targets that stay as they are"):
        read_choice("transfer", {"method": "compressed", "schedule": "joint", "soft_labels": 0.5})
    with pytest.raises(DataError, match="no labelled clip"):
        prepared("compressed", examples(unlabelled=48), soft_labels=0.5)


def test_the_linear_classifier_is_the_regression():
    labels = examples(unlabelled=6).labels
    rows, weight, bias = linear_classifier(teacher_vectors(), labels)
    np.testing.assert_allclose(rows @ weight.T + bias, logistic_scores(teacher_vectors(), labels), atol=1e-4)
    assert rows[labels.labelled].mean(0) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_student_keeps_the_targets_classifier(multi_label):
    data, student = examples(multi_label=multi_label), new_student()
    transfer = prepared("classifier_reuse", data)
    before = transfer.weight.clone()
    trained(transfer, data, student, steps=30)
    assert torch.equal(transfer.weight, before)
    batch = batch_of(data)
    with torch.no_grad():
        transfer.finish(student)
        output = student.eval()(batch.features, batch.lengths)
        composed = transfer.projector(output.embedding) @ transfer.weight.T + transfer.bias
    torch.testing.assert_close(output.logits, composed, atol=1e-4, rtol=1e-4)
    terms = transfer.loss(output, batch)
    torch.testing.assert_close(terms["prediction"], 0.5 * prediction_loss(composed, batch.labels, multi_label))


def test_reuse_trains_the_projector_and_not_the_students_own_classifier():
    data, student = examples(), new_student()
    transfer = prepared("classifier_reuse", data)
    terms = terms_of(transfer, student, batch_of(data))
    for term in terms.values():
        assert moved_by(term, transfer) == {"projector.weight", "projector.bias"}
        assert moved_by(term, student) == names(student, without="classify")


def test_soft_labels_move_everything_and_no_target():
    data = examples()
    check_training_moves_what_is_trainable_and_nothing_else(prepared("compressed", data, soft_labels=0.5), data)


def test_reuse_learns_the_task():
    data, student = examples(), new_student()
    _, result = trained(prepared("classifier_reuse", data, weight=0.8), data, student)
    assert result.best_score > 0.8


def test_reuse_needs_a_linear_classifier():
    transfer = prepared("classifier_reuse", examples())
    with pytest.raises(ConfigError, match="linear classifier"):
        transfer.finish(nn.Identity())
