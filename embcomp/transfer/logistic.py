"""The teacher that distillation of class scores needs: a logistic regression on frozen vectors."""

from __future__ import annotations

import numpy as np

from embcomp.data.labels import Labels
from embcomp.errors import DataError

# The score of a class of which no clip is known: in float32 its probability is zero at any temperature in use.
NEVER = -1e4


def logistic_scores(vectors: np.ndarray, labels: Labels, strength: float = 0.01) -> np.ndarray:
    """Class scores of a logistic regression fitted on the labelled rows, for all rows.

    One softmax regression where a clip has one label, else one binary regression per class;
    vectors are standardised first. As EAsT's teachers (Ding & Lerch 2023, arXiv 2306.17424),
    which are linear on the time-averaged embedding; the solver and its penalty are ours.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
    labels : Labels
        Of the same n clips, some of them perhaps without a label.
    strength : float, default=0.01
        Inverse of the L2 penalty (scikit-learn's C).

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
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    known = labels.labelled
    if not known.any():
        raise DataError(
            "the teacher's logistic regression found no labelled clip to fit on; label some, "
            "or use a transfer method that needs no label: embedding, regression, clip_samples"
        )
    rows = StandardScaler().fit(vectors[known]).transform(vectors)

    def scores(fit: np.ndarray, target: np.ndarray) -> np.ndarray:
        return LogisticRegression(C=strength, max_iter=200).fit(rows[fit], target).decision_function(rows)

    if labels.multi_label:
        found = np.full(labels.matrix.shape, np.nan, dtype=np.float32)
        for column, cells in enumerate(labels.matrix.T):
            fit = ~np.isnan(cells)
            if len(np.unique(cells[fit])) == 2:
                found[:, column] = scores(fit, cells[fit])
        if np.isnan(found).all():
            raise DataError("no class has both clips it applies to and clips it does not; there is nothing to distil")
        return found
    fit = labels.index >= 0
    present = np.unique(labels.index[fit])
    if len(present) < 2:
        raise DataError(
            f"the labelled clips are all of class {labels.classes[present[0]]!r}; a teacher needs two classes or more"
        )
    found = np.full(labels.matrix.shape, NEVER, dtype=np.float32)
    decision = scores(fit, labels.index[fit])
    # Of two classes scikit-learn gives one score, the second's advantage.
    found[:, present] = decision if decision.ndim == 2 else np.stack([np.zeros_like(decision), decision], axis=1)
    return found
