"""Distillation of class scores, alone and with the embedding: terms, gradients, training."""

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

from embcomp.data.labels import Labels
from embcomp.errors import DataError
from embcomp.losses import binary_kd, distance_correlation, multiclass_kd, prediction_loss
from embcomp.transfer.logistic import logistic_scores

KD = ("logit_kd", "embedding_kd")


def test_the_teacher_is_a_logistic_regression_on_standardised_vectors():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data, vectors = examples(), teacher_vectors() * 30 + 5
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200)).fit(vectors, data.labels.index)
    found = torch.from_numpy(logistic_scores(vectors, data.labels)).softmax(1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(vectors), atol=1e-5)
    assert found.max() > 0.5


def test_the_teacher_learns_from_labelled_clips_alone_and_judges_all():
    data, vectors = examples(unlabelled=24), teacher_vectors()
    found = logistic_scores(vectors, data.labels)
    alone = logistic_scores(vectors[:24], data.labels.select(np.arange(24)))
    np.testing.assert_allclose(found[:24], alone, atol=1e-5)
    assert (found.argmax(1) == examples().labels.index).mean() > 0.9


def test_of_two_classes_each_has_its_score():
    labels = examples().labels
    two = Labels(("c0", "c1"), labels.matrix[labels.index < 2][:, :2])
    found = logistic_scores(teacher_vectors()[labels.index < 2], two)
    assert found.shape == (32, 2) and (found.argmax(1) == two.index).all()


def test_a_class_without_a_clip_is_never_the_teachers_choice():
    labels = examples().labels
    rows = labels.index < 2
    found = logistic_scores(teacher_vectors()[rows], labels.select(rows))
    assert found.shape == (32, 3)
    probabilities = (torch.from_numpy(found) / 20).softmax(1)
    assert (probabilities[:, 2] == 0).all() and (probabilities.argmax(1).numpy() == labels.index[rows]).all()


def test_several_labels_have_a_teacher_each_fitted_where_they_are_known():
    data, vectors = examples(multi_label=True), teacher_vectors()
    matrix = data.labels.matrix.copy()
    matrix[:12, 0] = np.nan  # unknown for a quarter of the clips
    matrix[:, 2] = 0  # of one kind only: nothing to learn
    found = logistic_scores(vectors, Labels(data.labels.classes, matrix, True))
    assert np.isnan(found[:, 2]).all() and np.isfinite(found[:, :2]).all()
    assert (((found[:, :2] > 0) == (data.labels.matrix[:, :2] == 1)).mean()) > 0.8


def test_logit_kd_weighs_prediction_and_divergence():
    data, student = examples(), new_student()
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    terms = prepared("logit_kd", data, weight=0.3, temperature=3.0).loss(output, batch)
    scores = torch.from_numpy(logistic_scores(teacher_vectors(), data.labels))
    assert set(terms) == {"prediction", "kd"}
    torch.testing.assert_close(terms["prediction"], 0.7 * prediction_loss(output.logits, batch.labels, False))
    torch.testing.assert_close(terms["kd"], 0.3 * multiclass_kd(output.logits, scores, 3.0))


def test_embedding_kd_is_three_tenths_divergence_and_seven_distance():
    data, student = examples(), new_student()
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    terms = prepared("embedding_kd", data, weight=0.8).loss(output, batch)
    vectors = torch.from_numpy(teacher_vectors())
    scores = torch.from_numpy(logistic_scores(teacher_vectors(), data.labels))
    assert set(terms) == {"prediction", "distance", "kd"}
    torch.testing.assert_close(terms["prediction"], 0.2 * prediction_loss(output.logits, batch.labels, False))
    torch.testing.assert_close(terms["distance"], 0.8 * 0.7 * distance_correlation(output.embedding, vectors))
    torch.testing.assert_close(terms["kd"], 0.8 * 0.3 * multiclass_kd(output.logits, scores, 2.0))


@pytest.mark.parametrize("kd_weight, gone", [(0.0, "kd"), (1.0, "distance")])
def test_kd_weight_takes_one_term_or_the_other_away(kd_weight, gone):
    data = examples()
    terms = terms_of(prepared("embedding_kd", data, kd_weight=kd_weight), new_student(), batch_of(data))
    assert [name for name, term in terms.items() if term.item() == 0] == [gone]


def test_several_labels_take_the_binary_form_and_classes_the_teacher_cannot_judge_are_left_out():
    data, student = examples(multi_label=True), new_student()
    data.labels.matrix[:, 2] = 0
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    terms = prepared("logit_kd", data, weight=1.0).loss(output, batch)
    scores = torch.from_numpy(logistic_scores(teacher_vectors(), data.labels))[:, :2]
    torch.testing.assert_close(terms["kd"], binary_kd(output.logits[:, :2], scores))


@pytest.mark.parametrize("method", KD)
def test_which_term_moves_what(method):
    data, student = examples(), new_student()
    transfer = prepared(method, data)
    terms = terms_of(transfer, student, batch_of(data))
    assert not names(transfer)
    assert moved_by(terms["prediction"], student) == moved_by(terms["kd"], student) == names(student)
    if method == "embedding_kd":
        assert moved_by(terms["distance"], student) == names(student, without="classify")


@pytest.mark.parametrize("method", KD)
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("faithful", [False, True])
def test_a_clip_without_a_label_learns_from_the_teacher_unless_as_in_the_authors_code(method, multi_label, faithful):
    data, student = examples(unlabelled=24, multi_label=multi_label), new_student()
    transfer = prepared(method, data, faithful=faithful)
    batch = batch_of(data, [0, 1, 2, 40, 41])
    output = student(batch.features, batch.lengths)
    output.logits.retain_grad()
    transfer.loss(output, batch)["kd"].backward()
    learns = (output.logits.grad != 0).any(1)
    assert learns[:3].all() and learns[3:].tolist() == [not faithful] * 2


@pytest.mark.parametrize("method", KD)
def test_rows_pick_their_own_scores(method):
    data, rows = examples(), [5, 3, 3, 40]
    transfer = prepared(method, data)
    expected = torch.from_numpy(logistic_scores(teacher_vectors(), data.labels))[rows]
    torch.testing.assert_close(transfer.soft_labels.scores[rows], expected)
    batch = batch_of(data, rows)
    student = new_student().eval()
    output = student(batch.features, batch.lengths)._replace(logits=expected)
    assert transfer.loss(output, batch)["kd"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("method", KD)
def test_training_moves_the_student_and_leaves_the_teacher(method):
    check_training_moves_what_is_trainable_and_nothing_else(prepared(method, examples()), examples())


def test_a_student_learns_from_the_teachers_scores_alone_also_of_clips_without_a_label():
    data = examples(unlabelled=42)
    # Of no use to this loss, the few labels need no larger share of the batch than their number gives them.
    _, result = trained(prepared("logit_kd", data, weight=1.0), data, labelled=0.0)
    assert result.history[-1]["prediction"] == 0
    assert result.best_score > 0.8
    assert result.history[-1]["kd"] < 0.5 * result.history[0]["kd"]


def test_embedding_kd_learns():
    _, result = trained(prepared("embedding_kd", examples(unlabelled=24)), examples(unlabelled=24))
    assert result.best_score > 0.8
    assert result.history[-1]["distance"] < 0.7 * result.history[0]["distance"]


@pytest.mark.parametrize("method", KD)
def test_misuse_is_told(method):
    with pytest.raises(DataError, match="found no labelled clip to fit on; label some, or use .* regression"):
        prepared(method, examples(unlabelled=48))
    one = examples()
    one.labels.matrix[one.labels.index != 1] = np.nan
    with pytest.raises(DataError, match="all of class 'c1'; a teacher needs two classes"):
        prepared(method, one)
    nothing = examples(multi_label=True)
    nothing.labels.matrix[:] = 0
    with pytest.raises(DataError, match="nothing to distil"):
        prepared(method, nothing)
