"""Ledoit & Wolf's shrinkage for LDA, class by class, as scikit-learn applies it."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import ledoit_wolf

from embcomp.compression.frame import Frame
from embcomp.compression.rows import Rows


def class_covariances(
    rows: Rows, frame: Frame, membership: np.ndarray, priors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shrunk covariance within classes and of all rows, each ``(dim, dim)``.

    Rows of one class are held in memory at a time, and for the total all of
    them: the amount of shrinkage needs fourth moments.

    Parameters
    ----------
    membership : ndarray of shape (n, n_classes)
        Rows whose entry is above zero belong to the class.
    priors : ndarray of shape (n_classes,)

    References
    ----------
    Ledoit & Wolf, "Honey, I Shrunk the Sample Covariance Matrix", 2004.
    """
    within = np.zeros((rows.shape[1], rows.shape[1]))
    for members, prior in zip(membership.T, priors, strict=True):
        if prior > 0:
            within += prior * shrunk(rows, frame, np.flatnonzero(members > 0))
    return within, shrunk(rows, frame, np.flatnonzero(membership.sum(axis=1) > 0))


def shrunk(rows: Rows, frame: Frame, index: np.ndarray) -> np.ndarray:
    """Ledoit-Wolf covariance, after standardising every dimension, of the rows in `index`."""
    block = frame.to(rows[index].astype(float))
    block -= block.mean(axis=0)
    scale = block.std(axis=0)
    scale[scale <= 1e-12 * scale.max(initial=1e-300)] = 1.0
    block /= scale
    covariance, _ = ledoit_wolf(block, assume_centered=True)
    return covariance * scale * scale[:, None]
