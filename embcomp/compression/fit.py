"""From rows, or from their moments alone, to a fitted compression."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sklearn.utils import check_random_state

from embcomp.compression import parameters
from embcomp.compression.cells import group_codes, names
from embcomp.compression.closed_form import components_for_share
from embcomp.compression.decoders import find_decoders
from embcomp.compression.fitted import Fitted
from embcomp.compression.frame import Frame, make_frame
from embcomp.compression.methods import METHODS
from embcomp.compression.moments import Moments
from embcomp.compression.problem import Problem
from embcomp.compression.rows import Rows
from embcomp.compression.solvers import FactoredMoments, sums
from embcomp.compression.targets import Membership
from embcomp.errors import ConfigError, DataError
from embcomp.storage.seen import Seen


def fit_rows(
    params: dict[str, Any],
    rows: Rows,
    y: Any = None,
    groups: Any = None,
    ids: Iterable[str] | None = None,
    feature_names: Iterable[str] | None = None,
    summed: Callable[..., tuple[Moments | FactoredMoments, Moments | None]] = sums,
) -> Fitted:
    """Fit the method that `params` names on rows ``(n, dim)``.

    Parameters
    ----------
    params : dict
        The compressor's parameters, checked.
    y, groups : array-like of length n, optional
        Labels, and groups that the held-out share must not divide.
    ids, feature_names : iterable of str, optional
        Names of the rows and of the columns.
    summed : callable
        Finds the moments, as `embcomp.compression.solvers.sums` does.

    Raises
    ------
    DataError
        The data do not allow what `params` ask for.
    """
    targets = parameters.check_data(params, rows, y)
    groups = None if groups is None else group_codes(groups, len(rows))
    ids = None if ids is None else names(ids, len(rows))
    size = parameters.check_components(params, *rows.shape)
    membership = None
    if targets is not None and parameters.needs_classes(params):
        membership = Membership(targets, targets.class_weights(params["class_weight"]))
    seed = _seed(params)
    moments, class_moments = summed(rows, membership, params["solver"], params["n_components"], seed)
    frame = make_frame(moments, params["center"], params["scale"], rows.widths, rows.weights)
    d = _components(size, frame, moments)
    problem = Problem(params, d, moments, frame, seed, class_moments, rows, targets, groups)
    return _solve(problem, len(rows), ids, feature_names)


def fit_moments(
    params: dict[str, Any],
    moments: Moments,
    ids: Iterable[str] | None = None,
    feature_names: Iterable[str] | None = None,
) -> Fitted:
    """Fit the closed form that `params` name from moments, which are left as they are.

    Raises
    ------
    ConfigError
        The method trains on rows.
    DataError
        Too few rows, or too many components for them; ``lda`` without classes.
    """
    if params["method"] == "lda":
        if moments.n_classes < 2:
            raise DataError("lda needs moments with two classes or more")
    elif not parameters.sums_over_rows(params):
        raise ConfigError(f"method={params['method']!r} with objective={params['objective']!r} trains on rows; use fit")
    if moments.count < 2:
        raise DataError(f"a compressor needs at least 2 rows, got n_samples={moments.count}")
    size = parameters.check_components(params, moments.count, moments.n_features)
    frame = make_frame(moments, params["center"], params["scale"])
    problem = Problem(params, _components(size, frame, moments), moments, frame, _seed(params), moments)
    return _solve(problem, moments.count, ids, feature_names)


def _seed(params: dict[str, Any]) -> int:
    return int(check_random_state(params["random_state"]).randint(2**31 - 1))


def _components(size: float, frame: Frame, moments: Moments | FactoredMoments) -> int:
    return components_for_share(frame.covariance(moments), size) if isinstance(size, float) else size


def _solve(problem: Problem, n_samples: int, ids: Iterable[str] | None, feature_names: Iterable[str] | None) -> Fitted:
    solution = METHODS[problem.params["method"]](problem)
    decoders = find_decoders(solution, problem)
    return Fitted(
        module=decoders.fold(solution, problem.frame),
        decoders=decoders,
        head=solution.head,
        classes=None if problem.targets is None else problem.targets.classes,
        history=solution.history,
        n_samples=n_samples,
        ids=None if ids is None else Seen.of(ids),
        feature_names=None if feature_names is None else list(feature_names),
    )
