"""Regression to the teacher's space and the student-side projector: terms, gradients, training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.settings import transfer_settings
from helpers.transfer_cases import (
    DIM,
    FAST,
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

from embcomp.compression import Compressor
from embcomp.errors import ConfigError
from embcomp.losses import REGRESSIONS, cosine_distance, distance_correlation, prediction_loss
from embcomp.training.examples import sampling_weights
from embcomp.transfer import build_transfer
from embcomp.transfer.regression import cluster_balanced

JOINT = {"method": "compressed", "schedule": "joint"}


def start(data):
    return (
        Compressor(6, method="linear", objective="task", epochs=0).fit(teacher_vectors(), data.labels.index).to_module()
    )


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("distance", REGRESSIONS)
def test_regression_weighs_prediction_and_distance_through_its_head(head, distance):
    data, student = examples(), new_student()
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    transfer = prepared("regression", data, weight=0.3, head=head, regression_distance=distance)
    terms = transfer.loss(output, batch)
    predicted, vectors = transfer.head(output.embedding), torch.from_numpy(teacher_vectors())
    assert set(terms) == {"prediction", "distance"} and predicted.shape == (48, DIM)
    torch.testing.assert_close(terms["prediction"], 0.7 * prediction_loss(output.logits, batch.labels, False))
    torch.testing.assert_close(terms["distance"], 0.3 * REGRESSIONS[distance](predicted, vectors))


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_distance_moves_student_and_head_and_spares_the_classifier(head):
    data, student = examples(), new_student()
    transfer = prepared("regression", data, head=head)
    terms = terms_of(transfer, student, batch_of(data))
    assert moved_by(terms["distance"], student) == names(student, without="classify")
    assert moved_by(terms["distance"], transfer) == names(transfer) != set()
    assert moved_by(terms["prediction"], student) == names(student)
    assert moved_by(terms["prediction"], transfer) == set()


@pytest.mark.parametrize(
    "options", [{"method": "regression"}, {"method": "regression", "head": "mlp"}, {"method": "embedding", "student_projector": True}]
)  # fmt: skip
def test_training_moves_everything_but_the_targets(options):
    check_training_moves_what_is_trainable_and_nothing_else(prepared(data=examples(), **options), examples())


def test_clips_without_a_label_teach_as_much_as_the_others():
    transfer, student = prepared("regression", examples(unlabelled=48), weight=1.0), new_student()
    hidden = terms_of(transfer, student, batch_of(examples(unlabelled=48)))
    known = terms_of(transfer, student, batch_of(examples()))
    torch.testing.assert_close(hidden["distance"], known["distance"])
    assert hidden["prediction"].item() == 0


@pytest.mark.filterwarnings("error")
def test_regression_learns_the_teachers_space_without_any_label():
    data, held, student = examples(unlabelled=48), examples(seed=1), new_student()
    transfer = prepared("regression", data, weight=1.0)

    def distance_to_unheard():
        with torch.no_grad():
            predicted = transfer.head(student.eval()(held.features, held.lengths).embedding)
        return cosine_distance(predicted, torch.from_numpy(teacher_vectors(seed=1))).item()

    before = distance_to_unheard()
    # One evaluation, at the end: the classifier that chooses the best step has learned nothing.
    _, result = trained(transfer, data, student, evaluate_every=100)
    assert result.history[-1]["prediction"] == 0
    assert distance_to_unheard() < 0.2 < 0.7 < before


def test_regression_with_labels_learns_the_task():
    _, result = trained(prepared("regression", examples(unlabelled=24)), examples(unlabelled=24))
    assert result.best_score > 0.8


def test_every_cluster_of_the_teachers_space_is_drawn_equally_often():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [80, 15, 5])
    vectors = np.eye(3)[group] * 20 + rng.normal(size=(100, 3))
    weights = cluster_balanced(vectors.astype(np.float32), 3).numpy()
    assert weights.sum() == pytest.approx(1)
    for number in range(3):
        assert weights[group == number].sum() == pytest.approx(1 / 3)
        assert np.ptp(weights[group == number]) < 1e-12


def test_more_clusters_than_clips_draw_every_clip_alike():
    weights = cluster_balanced(np.arange(8, dtype=np.float32).reshape(4, 2), 50)
    torch.testing.assert_close(weights, torch.full((4,), 0.25, dtype=torch.float64))


def test_the_loop_draws_as_the_method_says_and_else_by_class():
    data = examples(unlabelled=24)
    assert prepared("regression", data).sampling_weights() is None
    transfer = prepared("regression", data, clusters=4)
    weights = transfer.sampling_weights()
    assert not torch.allclose(weights, sampling_weights(data.labels, True))
    drawn = []
    original = transfer.loss
    transfer.loss = lambda output, batch: (drawn.append(batch.rows), original(output, batch))[1]
    trained(transfer, data, steps=60, evaluate_every=60)
    share = torch.bincount(torch.cat(drawn), minlength=48) / (60 * FAST.batch_size)
    by_weight = weights.argsort()
    assert share[by_weight[:24]].sum().item() == pytest.approx(weights[by_weight[:24]].sum().item(), abs=0.06)


@pytest.mark.parametrize("method", ["embedding", "compressed"])
def test_a_projector_makes_a_direct_distance_possible(method):
    data, student = examples(), new_student()
    batch = batch_of(data)
    output = student(batch.features, batch.lengths)
    transfer = prepared(method, data, distance="cosine", student_projector=True, weight=0.4)
    assert transfer.distance is cosine_distance and DIM != WIDTH
    expected = cosine_distance(transfer.projector(output.embedding), torch.from_numpy(teacher_vectors()))
    torch.testing.assert_close(transfer.loss(output, batch)["distance"], 0.4 * expected)


def test_a_projector_keeps_the_distance_that_was_asked_for():
    transfer = prepared("embedding", examples(), student_projector=True, distance="distance_correlation")
    assert transfer.distance is distance_correlation


def test_without_a_projector_nothing_is_trained_beside_the_student():
    assert not names(prepared("embedding", examples()))


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_a_projector_beside_a_compressor_is_moved_by_the_distance_alone(stop_gradient):
    data, student = examples(), new_student()
    transfer = prepared(data=data, compressor=start(data), student_projector=True, stop_gradient=stop_gradient, **JOINT)
    terms = terms_of(transfer, student, batch_of(data))
    projector = {"projector.weight", "projector.bias"}
    compressor = names(transfer) - names(transfer, without="compressor")
    assert moved_by(terms["distance"], transfer) == projector | (set() if stop_gradient else compressor)
    assert moved_by(terms["teacher"], transfer) == names(transfer) - projector
    assert moved_by(terms["distance"], student) == names(student, without="classify")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"head": "mpl"}, "transfer.head is 'mpl'; did you mean 'mlp'"),
        ({"regression_distance": "cosin"}, "transfer.regression_distance is 'cosin'; did you mean 'cosine'"),
    ],
)
def test_misuse_names_the_nearest(options, message):
    with pytest.raises(ConfigError, match=message):
        build_transfer(transfer_settings(method="regression", **options), False)
