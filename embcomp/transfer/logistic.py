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
    known = labels.labelled
    if not known.any():
        raise DataError(
            "the teacher's logistic regression found no labelled clip to fit on; label some, "
            "or use a transfer method that needs no label: embedding, regression, clip_samples"
        )
    rows = StandardScaler().fit(vectors[known]).transform(vectors)
    targets = labels.matrix if labels.multi_label else labels.index
    found = Logistic(rows[known], targets[known], len(labels.classes)).scores(rows).astype(np.float32)
    learned = ~np.isnan(found).all(axis=0)
    if labels.multi_label:
        if not learned.any():
            raise DataError("no class has both clips it applies to and clips it does not; there is nothing to distil")
        return found
    if learned.sum() < 2:
        raise DataError(
            f"the labelled clips are all of class {labels.classes[learned.argmax()]!r}; "
            "a teacher needs two classes or more"
        )
    found[:, ~learned] = NEVER
    return found
