"""The constructor's parameters: checked in ``fit``, as scikit-learn requires."""

from __future__ import annotations

import numbers
from typing import Any

from embcomp.compression.cells import cells
from embcomp.compression.methods import METHODS, OBJECTIVES, STARTS, TRAINABLE, resolve_start
from embcomp.compression.rows import Rows
from embcomp.compression.solvers import SOLVERS
from embcomp.compression.targets import Targets, encode
from embcomp.errors import ConfigError, DataError, choose

# Name, lowest value, highest value, whether only whole numbers will do.
RANGES = (
    ("reconstruction_weight", 0, float("inf"), False),
    ("hidden", 1, float("inf"), True),
    ("epochs", 0, float("inf"), True),
    ("batch_size", 1, float("inf"), True),
    ("learning_rate", 0, float("inf"), False),
    ("weight_decay", 0, float("inf"), False),
    ("patience", 1, float("inf"), True),
    ("validation_share", 0, 0.9, False),
)


def check(params: dict[str, Any]) -> None:
    """Check every parameter that can be checked without data.

    Raises
    ------
    ConfigError
        A choice is unknown (the nearest one is named) or a number out of range.
    """
    choose("method", params["method"], METHODS)
    choose("objective", params["objective"], dict.fromkeys(OBJECTIVES))
    choose("start", params["start"], dict.fromkeys(STARTS))
    choose("solver", params["solver"], SOLVERS)
    for name, low, high, whole in RANGES:
        value = params[name]
        if not _is_number(value, whole) or not low <= value <= high:
            what = "an integer" if whole else "a number"
            raise ConfigError(f"{name} must be {what} from {low} to {high}, got {value!r}")
    shrinkage = params["shrinkage"]
    if shrinkage not in (None, "auto") and not (_is_number(shrinkage) and 0 <= shrinkage <= 1):
        raise ConfigError(f"shrinkage must be from 0 to 1, 'auto' or None, got {shrinkage!r}")
    start = resolve_start(params)
    if params["solver"] != "exact" and isinstance(params["n_components"], float):
        raise ConfigError(
            f"solver={params['solver']!r} needs a number of components; a share of variance needs solver='exact'"
        )
    if params["solver"] == "subspace" and (start == "lda" or params["scale"]):
        raise ConfigError(
            "solver='subspace' serves principal components of unscaled rows; use 'exact' or 'sample' here"
        )


def _is_number(value: Any, whole: bool = False) -> bool:
    return isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)


def needs_classes(params: dict[str, Any]) -> bool:
    """Whether the closed form needs sums by class."""
    return needs_labels(params) and resolve_start(params) == "lda"


def needs_labels(params: dict[str, Any]) -> bool:
    """Whether fitting reads targets."""
    if params["method"] in TRAINABLE:
        return params["objective"] != "reconstruction"
    return params["method"] == "lda"


def sums_over_rows(params: dict[str, Any]) -> bool:
    """Whether moments without classes decide everything, so that parts of the rows can be added up exactly."""
    if params["method"] == "linear":
        return params["objective"] == "reconstruction"
    return params["method"] in ("identity", "random", "pca")


def fitted_by_moments(params: dict[str, Any]) -> bool:
    """Whether moments, with classes where need be, decide everything."""
    return sums_over_rows(params) or (params["method"] == "lda" and params["shrinkage"] != "auto")


def check_components(params: dict[str, Any], n_rows: int, dim: int) -> int | float:
    """Check ``n_components`` against data of shape ``(n_rows, dim)``; None means all dimensions.

    Returns
    -------
    int
        A number of components.
    float
        A share of variance in (0, 1), still to be turned into a number.

    Raises
    ------
    DataError
        More than ``min(n_rows, dim)``; ``identity`` is bound by dim alone.
    ConfigError
        Not a positive integer nor a share.
    """
    n_components, most, data = params["n_components"], min(n_rows, dim), f"{n_rows} rows of {dim} dimensions"
    if params["method"] == "identity":
        most, data = dim, f"{dim} dimensions"
    if n_components is None:
        return most
    if _is_number(n_components, whole=True) and n_components >= 1:
        if n_components > most:
            raise DataError(
                f"n_components={n_components} is more than {most}, the most that {data} allow (dim, of a run compressor.dim)"
            )
        return int(n_components)
    if _is_number(n_components) and 0 < n_components < 1:
        return float(n_components)
    raise ConfigError(
        f"n_components must be a positive integer, a share of variance in (0, 1), or None, got {n_components!r}"
    )


def check_data(params: dict[str, Any], rows: Rows, y: Any) -> Targets | None:
    """Check what was given to ``fit`` against the parameters; returns the encoded labels, where used.

    Raises
    ------
    DataError
        Labels missing, or fewer than two classes; lengths that differ; fewer than 2 rows.
    ConfigError
        The solver does not serve several teachers.
    """
    targets, method = None, params["method"]
    if needs_labels(params):
        if y is None:
            raise DataError(
                f"Compressor with method={method!r} and objective={params['objective']!r} "
                "requires y to be passed, but the target y is None"
            )
        targets = encode(y, len(rows))
    if len(rows) < 2:
        raise DataError(f"a compressor needs at least 2 rows, got n_samples={len(rows)}")
    if y is not None and targets is None and len(found := cells(y).values) != len(rows):
        raise DataError(f"{len(rows)} rows of embeddings but {len(found)} labels")
    if params["solver"] == "subspace" and rows.widths is not None and len(rows.widths) > 1:
        raise ConfigError("solver='subspace' does not weigh several teachers; use 'exact' or 'sample'")
    return targets
