"""Labels as targets: one class per row, or several, and rows without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embcomp.compression.cells import cells, warn_of_nothing
from embcomp.errors import DataError

BLOCK = 1 << 16  # rows


@dataclass(frozen=True)
class Targets:
    """Encoded labels of n rows.

    Attributes
    ----------
    values : ndarray
        int64 ``(n,)`` class indices, -1 where unknown; or for several labels
        float32 ``(n, n_classes)`` of 0 and 1, NaN where unknown.
    classes : list
        Labels in the order of the indices.
    """

    values: np.ndarray
    classes: list[Any]

    @property
    def multilabel(self) -> bool:
        return self.values.ndim == 2

    @property
    def known(self) -> np.ndarray:
        """Rows with at least one known label, bool ``(n,)``."""
        return ~np.isnan(self.values).all(axis=1) if self.multilabel else self.values >= 0

    def membership(self, weights: np.ndarray | None = None) -> np.ndarray:
        """How much each row belongs to each class, float64 ``(n, k)``.

        A row counts once for every label it holds, as in Wang, Ding & Huang,
        "Multi-label Linear Discriminant Analysis", ECCV 2010. A single column
        of 0 and 1 makes two classes, without and with the label.
        """
        if not self.multilabel:
            members = np.zeros((len(self.values), len(self.classes)))
            rows = np.flatnonzero(self.values >= 0)
            members[rows, self.values[rows]] = 1.0
        elif self.values.shape[1] == 1:
            members = np.nan_to_num(np.concatenate([1 - self.values, self.values], axis=1)).astype(float)
            weights = None
        else:
            members = np.nan_to_num(self.values).astype(float)
        return members if weights is None else members * weights

    def class_weights(self, option: str | Mapping[Any, float] | None) -> np.ndarray | None:
        """Weight of each class, float64 ``(n_classes,)``, or None for all equal.

        Parameters
        ----------
        option : None, "balanced" or mapping of label to weight
            Balanced: rows / (classes * rows of the class) for one label a row;
            for several, rows without the label / rows with it.

        Raises
        ------
        DataError
            A label is not among the classes, or a weight is negative.
        """
        if option is None:
            return None
        if option == "balanced":
            if self.multilabel:
                positive = np.nansum(self.values, axis=0)
                negative = np.nansum(1 - self.values, axis=0)
                return negative / np.maximum(positive, 1.0)
            counts = np.bincount(self.values[self.values >= 0], minlength=len(self.classes))
            return counts.sum() / (len(self.classes) * np.maximum(counts, 1))
        if not isinstance(option, Mapping):
            raise DataError(f"class_weight must be None, 'balanced' or a mapping of label to weight, got {option!r}")
        # JSON turns keys into strings, so a loaded configuration names its classes by them.
        index = {str(label): place for place, label in enumerate(self.classes)}
        weights = np.ones(len(self.classes))
        for label, weight in option.items():
            if str(label) not in index:
                raise DataError(f"class_weight names {label!r}, which is not among the classes {self.classes[:10]}")
            if not 0 <= float(weight) < np.inf:
                raise DataError(f"class_weight of {label!r} is {weight}; it must be 0 or more")
            weights[index[str(label)]] = float(weight)
        return weights

    def subset(self, rows: np.ndarray | slice) -> Targets:
        return Targets(self.values[rows], self.classes)


@dataclass(frozen=True)
class Membership:
    """The matrix that :meth:`Targets.membership` gives, made for some rows when it is asked for them.

    Attributes
    ----------
    targets : Targets
    weights : ndarray of shape (n_classes,), optional
        Of the classes.
    """

    targets: Targets
    weights: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and classes."""
        return len(self.targets.values), self[:0].shape[1]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return self.targets.subset(rows).membership(self.weights)

    def one_each(self) -> bool:
        """Whether every row belongs to one class, with weight 1."""
        return all((self[start : start + BLOCK].sum(axis=1) == 1).all() for start in range(0, self.shape[0], BLOCK))


def encode(y: Any, n_rows: int, classes: Sequence[Any] | None = None) -> Targets:
    """Encode labels.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_classes)
        One label a row (text or number), where -1 among integers, None, NaN, pandas' NA and masked values mean
        unlabelled; or a matrix of 0 and 1, where these mean unknown. See `embcomp.compression.cells`.
    n_rows : int
        Rows of the embeddings.
    classes : sequence, optional
        Known labels, in order; without, those of `y`, sorted.

    Raises
    ------
    DataError
        Another number of rows, fewer than two classes, a label outside `classes`,
        or a matrix that holds something other than 0, 1 and NaN.
    """
    found = cells(y)
    if classes is None:
        warn_of_nothing(found, "label")
    values, missing = found.values, found.missing
    if len(values) != n_rows:
        raise DataError(f"{n_rows} rows of embeddings but {len(values)} labels")
    if values.ndim == 2 and values.shape[1] == 1 and not _binary(values, missing):
        values, missing = values[:, 0], missing[:, 0]
    if values.ndim == 2:
        return _matrix(values, missing, classes)
    return _vector(values, missing, found.integer, classes)


def _binary(values: np.ndarray, missing: np.ndarray) -> bool:
    """Whether a column says of each row that a label applies, or does not."""
    return values.dtype.kind in "fbiu" and bool(np.isin(values[~missing], (0, 1)).all())


def _vector(values: np.ndarray, missing: np.ndarray, integer: bool, classes: Sequence[Any] | None) -> Targets:
    labels = values.tolist()
    known = [
        not absent and not (integer and label == -1) for label, absent in zip(labels, missing.tolist(), strict=True)
    ]
    try:
        present = {label for label, is_known in zip(labels, known, strict=True) if is_known}
    except TypeError as error:
        raise DataError(f"labels must be texts or numbers, one a row ({error})") from None
    if classes is None:
        try:
            classes = sorted(present)
        except TypeError:
            classes = sorted(present, key=str)
        if len(classes) < 2:
            hint = " (-1 among integers means unlabelled)" if integer and -1 in labels else ""
            raise DataError(f"labels hold one class only ({classes[:1]}); two or more classes are needed{hint}")
    index = {label: place for place, label in enumerate(classes)}
    unseen = sorted(str(label) for label in present if label not in index)
    if unseen:
        raise DataError(f"labels not seen in fitting: {unseen[:8]}; known are {[str(label) for label in classes][:10]}")
    codes = [index[label] if is_known else -1 for label, is_known in zip(labels, known, strict=True)]
    return Targets(np.array(codes, dtype=np.int64), list(classes))


def _matrix(values: np.ndarray, missing: np.ndarray, classes: Sequence[Any] | None) -> Targets:
    try:
        values = np.where(missing, np.nan, values).astype(np.float32)
    except (TypeError, ValueError):
        raise DataError("a matrix of labels must hold numbers: 0, 1, and NaN for unknown") from None
    if not np.isin(values[~np.isnan(values)], (0, 1)).all():
        raise DataError("a matrix of labels must hold 0, 1, and NaN for unknown only")
    if classes is not None and len(classes) != values.shape[1]:
        raise DataError(f"labels have {values.shape[1]} columns, fitting saw {len(classes)}")
    with np.errstate(all="ignore"):
        varied = (np.nansum(values, axis=0) > 0) & (np.nansum(1 - values, axis=0) > 0)
    if classes is None and not varied.any():
        raise DataError("labels hold one class only: every column is constant; there is nothing to separate")
    return Targets(values, list(range(values.shape[1])) if classes is None else list(classes))
