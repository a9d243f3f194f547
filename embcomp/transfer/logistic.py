"""The teacher that distillation of class scores needs: a logistic regression on frozen vectors."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import StandardScaler

from embcomp.data.labels import Labels
from embcomp.errors import DataError
from embcomp.learning import Logistic

# The score of a class of which no clip is known: in float32 its probability is zero at any temperature in use.
NEVER = -1e4


def logistic_scores(vectors: np.ndarray, labels: Labels) -> np.ndarray:
    """Class scores of a logistic regression fitted on the labelled rows, for all rows.

    One softmax regression where a clip has one label, else one binary regression per class;
    vectors are standardised first. As EAsT's teachers (Ding & Lerch 2023, arXiv 2306.17424),
    which are linear on the time-averaged embedding; the solver and its penalty are ours.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
    labels : Labels
        Of the same n clips, some of them perhaps without a label.

    Returns
    -------
    ndarray of float32 of shape (n, classes)
        Before the softmax, or the sigmoid. NaN in the columns of multi-label classes of which
        only one kind of label is known, where there is nothing to learn.

    Raises
    ------
    DataError
        Fewer than two classes have a labelled clip.
    """
    rows, model, learned = _fitted(vectors, labels)
    found = model.scores(rows).astype(np.float32)
    if not labels.multi_label:
        found[:, ~learned] = NEVER
    return found


def _fitted(vectors: np.ndarray, labels: Labels) -> tuple[np.ndarray, Logistic, np.ndarray]:
    """Standardised vectors, the regression fitted on the labelled ones, and the classes it learned."""
    known = labels.labelled
    if not known.any():
        raise DataError(
            "the teacher's logistic regression found no labelled clip to fit on; label some, "
            "or use a transfer method that needs no label: embedding, regression, clip_samples"
        )
    rows = StandardScaler().fit(vectors[known]).transform(vectors)
    targets = labels.matrix if labels.multi_label else labels.index
    model = Logistic(rows[known], targets[known], len(labels.classes))
    learned = ~np.isnan(model.scores(rows[known][:1])).all(axis=0)
    if labels.multi_label:
        if not learned.any():
            raise DataError("no class has both clips it applies to and clips it does not; there is nothing to distil")
    elif learned.sum() < 2:
        raise DataError(
            f"the labelled clips are all of class {labels.classes[learned.argmax()]!r}; "
            "a teacher needs two classes or more"
        )
    return rows, model, learned


def linear_classifier(vectors: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The regression of `logistic_scores` as one affine map.

    Returns
    -------
    rows : ndarray of float32 of shape (n, dim)
        The vectors, standardised by those of the labelled clips.
    weight : ndarray of float32 of shape (classes, dim)
    bias : ndarray of float32 of shape (classes,)
        ``rows @ weight.T + bias`` are the scores; 0 in columns of which there is nothing to learn.

    Raises
    ------
    DataError
        As `logistic_scores`.
    """
    rows, model, learned = _fitted(vectors, labels)
    dim = rows.shape[1]
    origin = model.scores(np.zeros((1, dim)))[0]
    weight = np.nan_to_num(model.scores(np.eye(dim)) - origin).T
    bias = np.where(learned, origin, 0.0 if labels.multi_label else NEVER)
    return rows.astype(np.float32), weight.astype(np.float32), bias.astype(np.float32)
