"""What scikit-learn expects of a fitted estimator, read from :class:`Fitted`."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from embcomp.compression.fitted import Fitted
from embcomp.compression.rows import Rows, as_rows

if TYPE_CHECKING:
    from typing import Self


def _learned(name: str) -> property:
    """A public attribute that :class:`Fitted` holds under `name`."""
    read = attrgetter(name)
    return property(lambda self: read(self._fitted()))


class Learned(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An estimator whose learned attributes all come from one :class:`Fitted`.

    Attributes
    ----------
    fitted_ : Fitted
        What fitting yielded; the attributes are documented in :class:`Compressor`.
    """

    module_ = _learned("module")
    decoders_ = _learned("decoders")
    head_ = _learned("head")
    classes_ = _learned("classes")
    history_ = _learned("history")
    seen_ = property(lambda self: None if self._fitted().ids is None else self._fitted().ids.hashes)
    n_samples_ = _learned("n_samples")
    n_components_ = _n_features_out = _learned("n_components")
    component_variance_ = _learned("decoders.component_variance")
    retained_variance_ = _learned("decoders.retained_variance")

    def __sklearn_is_fitted__(self) -> bool:
        self._solve_if_summed()
        return "fitted_" in self.__dict__

    def _solve_if_summed(self) -> None:
        """Make ``fitted_`` of rows that were only summed so far, where there are enough of them."""

    def _rows(self, X: Any, reset: bool = False) -> Rows:
        """Rows of X; `reset` keeps their width and column names, else they are compared."""
        rows = as_rows(X)
        validate_data(self, X if hasattr(X, "columns") else rows, skip_check_array=True, reset=reset)
        return rows

    def _fitted(self) -> Fitted:
        moments = self.__dict__.get("moments_")
        if moments is None:
            check_is_fitted(self)
        else:
            few = f"{moments.count} rows were added so far, too few for n_components={self.n_components}: add more"
            check_is_fitted(self, msg=few)
        return self.fitted_

    def _take(self, fitted: Fitted) -> Self:
        """Become an estimator fitted with this."""
        self.fitted_, self.n_features_in_ = fitted, fitted.n_features
        self.__dict__.pop("feature_names_in_", None)
        if fitted.feature_names is not None:
            self.feature_names_in_ = np.array(fitted.feature_names, dtype=object)
        return self
