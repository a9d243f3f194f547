"""Labels, groups and names as people hold them: lists, numpy, pandas, torch, masked and sparse arrays."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from embcomp.errors import DataError, EmbcompWarning

SHOWN = 8  # rows named
NOTHING = ("", "nan", "None", "<NA>", "NaT")  # what becomes of a missing value where it is made a text


@dataclass(frozen=True)
class Cells:
    """Values of any kind, and which are missing.

    Attributes
    ----------
    values : ndarray of shape (n,) or (n, k)
        Text is str, in Unicode's form NFC; what is missing is None where `values` holds objects.
    missing : ndarray of bool, of the same shape
        None, NaN, NaT, pandas' NA, and masked values.
    integer : bool
        Whether the values were signed integers, among which -1 may mean none.
    """

    values: np.ndarray
    missing: np.ndarray
    integer: bool


def cells(values: Any) -> Cells:
    """Read an array-like of labels, groups or names.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, k)
        A list, a numpy array (masked ones as well), a pandas or polars Series or DataFrame of any type, a torch
        tensor, or a sparse matrix.

    Raises
    ------
    DataError
        It has another number of dimensions, or records for values.
    """
    array, missing, integer = _unpacked(values)
    if array.ndim not in (1, 2):
        raise DataError(f"values have shape {array.shape}; expected (n,) or (n, k)")
    if array.dtype.kind == "V":
        raise DataError("values are records of several fields; give one of the fields")
    if missing is None:
        missing = _missing(array)
    if array.dtype.kind in "SUO":
        array = np.array([_plain(value) for value in array.ravel().tolist()], dtype=object).reshape(array.shape)
        array[missing] = None
    return Cells(array, missing, integer)


def column(values: Any, n_rows: int, what: str) -> Cells:
    """Read one value for each of `n_rows` rows; a matrix of one column counts as such.

    Parameters
    ----------
    what : str
        For messages: ``"groups"``.

    Raises
    ------
    DataError
        Another number of rows, or several columns.
    """
    found = cells(values)
    if found.values.ndim == 2:
        if found.values.shape[1] != 1:
            raise DataError(f"{what} have shape {found.values.shape}; expected one value a row")
        found = Cells(found.values[:, 0], found.missing[:, 0], found.integer)
    if len(found.values) != n_rows:
        raise DataError(f"{n_rows} rows of embeddings but {len(found.values)} {what}")
    return found


def group_codes(groups: Any, n_rows: int) -> np.ndarray:
    """Groups as numbers, int64 (n,), in the order of their names.

    Raises
    ------
    DataError
        A row has no group; the rows are named. Or lengths differ.
    """
    found = column(groups, n_rows, "groups")
    refuse_missing(found, "group")
    warn_of_nothing(found, "group")
    values = found.values
    if values.dtype != object:
        return np.unique(values, return_inverse=True)[1].astype(np.int64)
    names = values.tolist()
    try:
        order = sorted(set(names))
    except TypeError:
        order = sorted(set(names), key=lambda name: (str(type(name)), str(name)))
    number = {name: place for place, name in enumerate(order)}
    return np.array([number[name] for name in names], dtype=np.int64)


def names(ids: Any, n_rows: int) -> Sequence[str]:
    """Ids as text; bytes are decoded. Texts on disk (a true attribute ``in_blocks``) stay there.

    Raises
    ------
    DataError
        A row has no id; the rows are named. Or lengths differ.
    """
    if getattr(ids, "in_blocks", False):
        if len(ids) != n_rows:
            raise DataError(f"{n_rows} rows of embeddings but {len(ids)} ids")
        return ids
    found = column(ids, n_rows, "ids")
    refuse_missing(found, "id")
    return [str(name) for name in found.values.tolist()]


def warn_of_nothing(found: Cells, what: str) -> None:
    """Warn of texts that are what programs write for a missing value, and count as any other here."""
    if found.values.dtype != object:
        return
    for text in NOTHING:
        rows = [row for row, value in enumerate(found.values.ravel().tolist()) if value == text]
        if rows:
            warnings.warn(
                f"{rows_text(rows)}: {text!r} is taken as a {what}; give None where there is none",
                EmbcompWarning,
                stacklevel=4,
            )


def refuse_missing(found: Cells, what: str) -> None:
    """Raise DataError naming the rows without a value."""
    rows = np.flatnonzero(found.missing.reshape(len(found.missing), -1).any(axis=1))
    if len(rows):
        raise DataError(f"{len(rows)} of {len(found.values)} rows have no {what}: {rows_text(rows)}")


def rows_text(rows: Sequence[int] | np.ndarray) -> str:
    """Row numbers for a message.

    Examples
    --------
    >>> rows_text([1, 4])
    'rows 1, 4'
    """
    shown = ", ".join(str(int(row)) for row in rows[:SHOWN])
    return f"row{'s' if len(rows) > 1 else ''} {shown}" + (
        f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    )


def refuse_other_order(X: Any, values: Any, what: str) -> None:
    """Refuse pandas objects that name the same rows in another order: what is matched by place would be mixed up.

    Raises
    ------
    DataError
        Says how to align them.
    """
    one, other = (getattr(each, "index", None) for each in (X, values))
    if one is None or other is None or not hasattr(one, "equals") or not hasattr(other, "equals"):
        return
    if len(one) == len(other) and not one.equals(other) and one.is_unique and set(one) == set(other):
        raise DataError(
            f"the {what} name the same rows as the embeddings in another order; give them as {what}.loc[X.index]"
        )


def _unpacked(values: Any) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """An array, which of it is missing where that is known, and whether it holds signed integers."""
    if isinstance(values, torch.Tensor):
        dense = values.detach().to_dense() if values.layout != torch.strided else values.detach()
        values = (dense.float() if dense.dtype == torch.bfloat16 else dense).cpu().numpy()
    elif hasattr(values, "toarray"):  # sparse
        values = values.toarray()
    if np.ma.isMaskedArray(values):
        array, missing = np.asarray(values.data), np.ma.getmaskarray(values) | _missing(np.asarray(values.data))
        return array, missing, array.dtype.kind == "i"
    if hasattr(values, "isna") and hasattr(values, "to_numpy"):  # pandas
        missing = np.asarray(values.isna())
        kinds = {getattr(dtype, "kind", "O") for dtype in (values.dtypes if values.ndim == 2 else [values.dtype])}
        array = values.to_numpy() if kinds <= set("biufM") and not missing.any() else values.to_numpy(dtype=object)
        return np.asarray(array), missing, kinds == {"i"}
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif hasattr(values, "__array__") and not isinstance(values, np.ndarray):
        values = np.asarray(values)
    if isinstance(values, np.ndarray):
        return values, None, values.dtype.kind == "i" or (values.dtype == object and _whole(values))
    # numpy would make texts of NaN and of numbers beside texts.
    array = np.array(list(values), dtype=object)
    integer = _whole(array)
    if array.size and all(
        isinstance(value, (bool, int, float, np.number, np.bool_)) for value in array.ravel().tolist()
    ):
        array = np.asarray(values)
    return array, None, integer


def _whole(array: np.ndarray) -> bool:
    present = [value for value in array.ravel().tolist() if not _is_missing(value)]
    return bool(present) and all(
        isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in present
    )


def _missing(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "fc":
        return np.isnan(array)
    if array.dtype.kind in "mM":
        return np.isnat(array)
    if array.dtype.kind == "O":
        return np.array([_is_missing(value) for value in array.ravel().tolist()], dtype=bool).reshape(array.shape)
    return np.zeros(array.shape, dtype=bool)


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # only NaN and its like differ from themselves
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"  # pandas' NA cannot tell


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str) and not value.isascii():
        return unicodedata.normalize("NFC", value)
    return value
