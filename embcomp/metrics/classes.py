"""The metrics of each class, one row a class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from embcomp.metrics.counts import KNOWN, PREDICTED, RIGHT, TRUE, f1, ratio, tallies
from embcomp.metrics.ranks import Rankings
from embcomp.metrics.rows import Rows


def per_class(rows: Rows, names: tuple[str, ...]) -> pd.DataFrame:
    """Recall, precision, F1, average precision, ROC-AUC and support of each class.

    Parameters
    ----------
    rows : Rows
    names : tuple of str
        Of the classes.

    Returns
    -------
    DataFrame
        Columns ``class, support, known, recall, precision, f1, average_precision, roc_auc``. `support` is how many
        predictions are of clips the class applies to, `known` of how many that is known; a student counts each clip.
        NaN where a number has no meaning: recall without support, precision of a class never predicted.
    """
    counts = tallies(rows).sum(axis=0)
    weights = np.ones((rows.groups, 1))
    precision, area = Rankings(rows).per_class(weights)
    there = counts[TRUE] > 0
    return pd.DataFrame(
        {
            "class": list(names),
            "support": counts[TRUE].astype(np.int64),
            "known": counts[KNOWN].astype(np.int64),
            "recall": np.where(there, ratio(counts[RIGHT], counts[TRUE]), np.nan),
            "precision": np.where(counts[PREDICTED] > 0, ratio(counts[RIGHT], counts[PREDICTED]), np.nan),
            "f1": np.where(there, f1(counts), np.nan),
            "average_precision": precision[:, 0],
            "roc_auc": area[:, 0],
        }
    )
