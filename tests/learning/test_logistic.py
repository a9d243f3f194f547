"""Logistic regression where classes are missing or unknown."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from embcomp.learning import Logistic

NAN = float("nan")


@pytest.fixture
def vectors(rng):
    return rng.normal(size=(90, 5))


@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [1, 2, 4], [0, 4]])
def test_one_label_a_row_is_scikit_learns_regression_over_the_classes_there_are(vectors, rng, classes):
    index = np.array(classes)[rng.integers(0, len(classes), 90)]
    vectors[np.arange(90), index] += 2
    model, expected = Logistic(vectors, index, 5), LogisticRegression(C=0.01).fit(vectors, index)
    probabilities, scores = model.probabilities(vectors), model.scores(vectors)
    absent = np.setdiff1d(np.arange(5), classes)
    np.testing.assert_allclose(probabilities[:, classes], expected.predict_proba(vectors), atol=1e-6)
    assert not probabilities[:, absent].any() and np.isnan(scores[:, absent]).all()
    np.testing.assert_allclose(softmax(scores[:, classes], axis=1), probabilities[:, classes], atol=1e-6)
    np.testing.assert_array_equal(np.nanargmax(scores, axis=1), expected.predict(vectors))


def test_of_one_class_there_is_no_doubt(vectors):
    model = Logistic(vectors, np.full(90, 2), 4)
    np.testing.assert_array_equal(model.probabilities(vectors[:3]), np.eye(4)[[2, 2, 2]])
    np.testing.assert_array_equal(np.nanargmax(model.scores(vectors[:3]), axis=1), [2, 2, 2])


def test_each_of_several_labels_is_fitted_on_the_rows_that_know_it(vectors, rng):
    labels = (vectors[:, :4] > 0).astype(np.float32)
    labels[rng.random(labels.shape) < 0.3] = NAN
    labels[:, 1], labels[:, 2] = np.where(np.isnan(labels[:, 1]), NAN, 1.0), NAN
    model = Logistic(vectors, labels, 4)
    scores, probabilities = model.scores(vectors), model.probabilities(vectors)
    for column in (0, 3):
        known = ~np.isnan(labels[:, column])
        expected = LogisticRegression(C=0.01).fit(vectors[known], labels[known, column])
        np.testing.assert_allclose(scores[:, column], expected.decision_function(vectors), atol=1e-6)
        np.testing.assert_allclose(probabilities[:, column], expit(scores[:, column]), atol=1e-6)
    assert np.isnan(scores[:, 1:3]).all()
    assert (probabilities[:, 1] == 1).all() and (probabilities[:, 2] == 0).all()


def test_a_weaker_penalty_makes_larger_scores(vectors):
    index = (vectors[:, 0] > 0).astype(int)
    weak, strong = (np.abs(Logistic(vectors, index, 2, strength).scores(vectors)).max() for strength in (10, 0.001))
    assert weak > 10 * strong
