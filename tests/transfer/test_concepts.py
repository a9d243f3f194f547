"""Concepts of a teacher's space and the frozen classifier that students learn them through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.settings import transfer_settings
from helpers.transfer_cases import (
    CLASSES,
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
from sklearn.metrics import adjusted_rand_score

from embcomp.errors import ConfigError, DataError
from embcomp.losses import prediction_loss
from embcomp.transfer.clusters import ConceptClassifier, Concepts


def concepts(data=None, vectors=None, **options):
    return prepared("concepts", data or examples(), vectors, **{"concepts": CLASSES, **options})


def test_clusters_that_lie_apart_are_found_and_soft_labels_are_hard_there():
    vectors = teacher_vectors(noise=0.1)
    found = Concepts.find(vectors, CLASSES)
    soft, hard = found.shares(vectors), found.shares(vectors, "hard")
    assert adjusted_rand_score(examples().labels.index, hard.argmax(1)) == 1
    assert set(hard.unique().tolist()) == {0, 1}
    torch.testing.assert_close(soft, hard, atol=0.01, rtol=0)


def test_soft_labels_are_a_softmax_over_squared_distances_in_units_of_their_margin():
    vectors = np.random.default_rng(0).normal(size=(60, 5))
    found = Concepts.find(vectors, 4, seed=1)
    squared = ((vectors[:, None] - found.centres.numpy()) ** 2).sum(-1)
    margin = (squared.mean(1) - squared.min(1)).mean()
    exponents = np.exp(-(squared - squared.min(1, keepdims=True)) / (0.3 * margin))
    expected = exponents / exponents.sum(1, keepdims=True)
    np.testing.assert_allclose(found.shares(vectors, temperature=0.3), expected, atol=1e-5)
    assert (found.shares(vectors, "hard").argmax(1).numpy() == squared.argmin(1)).all()


@pytest.mark.parametrize("scale, shift", [(1e-3, 0.0), (50.0, 0.0), (1.0, 20.0)])
def test_neither_scale_nor_origin_of_the_vectors_matters(scale, shift):
    vectors = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    centres = torch.from_numpy(vectors[:4])
    squared = torch.cdist(torch.from_numpy(vectors), centres).square()
    margin = float((squared.mean(1) - squared.amin(1)).mean())
    here = Concepts(centres, margin).shares(vectors)
    there = Concepts(centres * scale + shift, margin * scale**2).shares(vectors * scale + shift)
    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)


def test_the_classifier_knows_the_concepts_of_the_teachers_own_vectors_also_new_ones():
    vectors, unheard = teacher_vectors(count=300), teacher_vectors(count=300, seed=1)
    found = Concepts.find(vectors, CLASSES)
    classifier = ConceptClassifier.fit(vectors, found.shares(vectors), WIDTH)
    for rows in (vectors, unheard):
        right = classifier.of_teacher(rows).argmax(1) == found.shares(rows, "hard").argmax(1)
        assert right.float().mean() > 0.98


def test_a_direction_that_never_varies_and_a_great_offset_leave_the_classifier_finite():
    vectors = np.concatenate([teacher_vectors() * 1e3 + 1e4, np.full((48, 2), 7.0)], axis=1).astype(np.float32)
    found = Concepts.find(vectors, CLASSES)
    classifier = ConceptClassifier.fit(vectors, found.shares(vectors), WIDTH)
    assert (classifier.of_teacher(vectors).argmax(1) == found.shares(vectors, "hard").argmax(1)).all()
    assert all(torch.isfinite(buffer).all() for buffer in classifier.buffers())


def test_the_loss_is_the_cross_entropy_with_the_shares():
    data, student = examples(), new_student()
    batch = batch_of(data, [7, 2, 2, 40])
    output = student(batch.features, batch.lengths)
    transfer = concepts(data, weight=0.3)
    terms = transfer.loss(output, batch)
    logits = (output.embedding @ transfer.classifier.weight.T + transfer.classifier.bias).log_softmax(1)
    expected = -(transfer.targets[batch.rows] * logits).sum(1).mean()
    assert set(terms) == {"prediction", "concept"} and transfer.targets.shape == (48, CLASSES)
    torch.testing.assert_close(terms["concept"], 0.3 * expected)
    torch.testing.assert_close(terms["prediction"], 0.7 * prediction_loss(output.logits, batch.labels, False))


def test_gradients_reach_the_student_and_nothing_else():
    data, student = examples(), new_student()
    transfer = concepts(data)
    terms = terms_of(transfer, student, batch_of(data))
    assert not names(transfer) and not any(buffer.requires_grad for buffer in transfer.buffers())
    assert moved_by(terms["concept"], student) == names(student, without="classify")
    assert moved_by(terms["prediction"], student) == names(student)


@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_training_moves_the_student_and_leaves_the_classifier(labels):
    check_training_moves_what_is_trainable_and_nothing_else(concepts(concept_labels=labels), examples())


def test_the_same_generator_gives_the_same_concepts_and_another_others():
    vectors = np.random.default_rng(0).normal(size=(48, 10)).astype(np.float32)
    first, again = concepts(vectors=vectors, concepts=8), concepts(vectors=vectors, concepts=8)
    for one, other in zip(first.buffers(), again.buffers()):
        assert torch.equal(one, other)
    assert not torch.equal(Concepts.find(vectors, 8, 0).centres, Concepts.find(vectors, 8, 1).centres)
    state = torch.get_rng_state()
    ConceptClassifier.fit(vectors, Concepts.find(vectors, 8).shares(vectors), WIDTH)
    assert torch.equal(state, torch.get_rng_state())


def test_a_student_learns_the_concepts_of_clips_without_any_label():
    data, held, student = examples(unlabelled=48), examples(seed=1), new_student()
    transfer = concepts(data, weight=1.0, concept_labels="hard")
    _, result = trained(transfer, data, student, evaluate_every=100)
    assert result.history[-1]["prediction"] == 0
    with torch.no_grad():
        heard = transfer.classifier(student.eval()(held.features, held.lengths).embedding).argmax(1)
    assert adjusted_rand_score(held.labels.index, heard) > 0.8


def test_with_labels_the_task_is_learned():
    _, result = trained(concepts(examples(unlabelled=24)), examples(unlabelled=24))
    assert result.best_score > 0.8


def test_several_labels_per_clip_are_welcome():
    data, student = examples(multi_label=True), new_student()
    terms = terms_of(concepts(data), student, batch_of(data))
    assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.filterwarnings("error")
def test_fewer_different_vectors_than_concepts_have_one_each():
    vectors = np.repeat(np.eye(3, 10, dtype=np.float32), 4, axis=0)
    found = Concepts.find(vectors, 8)
    assert found.centres.shape == (3, 10)
    assert adjusted_rand_score(np.repeat([0, 1, 2], 4), found.shares(vectors, "hard").argmax(1)) == 1
    alike = np.ones((6, 10), dtype=np.float32)
    only = Concepts.find(alike, 4)
    assert torch.equal(only.shares(alike), torch.ones(6, 1))
    assert torch.isfinite(ConceptClassifier.fit(alike, only.shares(alike), 4).of_teacher(alike)).all()


def test_misuse_names_the_setting():
    with pytest.raises(ConfigError, match="transfer.concepts is 49; 48 vectors have between 2 and 48 concepts"):
        concepts(concepts=49)
    with pytest.raises(ConfigError, match="transfer.concept_labels is 'sof'; did you mean 'soft'"):
        concepts(concept_labels="sof")
    vectors = teacher_vectors()
    vectors[3, 2] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        concepts(vectors=vectors)
    assert transfer_settings(method="concepts").concepts >= 2
