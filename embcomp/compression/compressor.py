"""The scikit-learn estimator around the compressor modules."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from embcomp.compression import parameters
from embcomp.compression.apply import apply
from embcomp.compression.closed_form import components_for_share
from embcomp.compression.decoders import find_decoders, first_inputs
from embcomp.compression.diagnostics import Report, report
from embcomp.compression.frame import make_frame
from embcomp.compression.methods import METHODS, TRAINABLE
from embcomp.compression.moments import Moments, collect
from embcomp.compression.problem import Problem
from embcomp.compression.rows import as_rows, raise_not_finite
from embcomp.compression.seen import hash_ids, known
from embcomp.compression.solvers import sums
from embcomp.errors import ConfigError, DataError


def _is_sum_of_shards(self: Compressor) -> bool:
    """Only what moments alone decide can be fitted piece by piece and be exact."""
    return self.method in ("identity", "random", "pca") or (
        self.method == "linear" and self.objective == "reconstruction"
    )


class Compressor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Compress frozen teacher embeddings to small targets.

    Parameters
    ----------
    n_components : int, float in (0, 1) or None, default=64
        Size of the target, d; a share asks for the fewest principal components
        that keep this much variance; None keeps all dimensions. Never changed
        in silence: more than ``min(n, dim)`` raises.
    method : {"identity", "random", "pca", "lda", "linear", "mlp"}, default="linear"
        The rung of the ladder. All but the last two are closed forms.
    objective : {"reconstruction", "task", "both"}, default="task"
        What ``linear`` and ``mlp`` keep: the embedding (an autoencoder), what a
        linear classifier of the labels needs, or both.
    center, scale : bool, default=True, False
        Subtract the mean; divide by the standard deviation. Both are folded
        into the module, which takes raw embeddings. ``identity`` passes rows
        unchanged unless `scale` is set or there are several teachers.
    whiten : bool, default=False
        Give principal components unit variance.
    nested : bool, default=False
        Train so that every prefix of the dimensions is a compressor of its own;
        see :meth:`truncate`. Closed forms are nested by nature.
    start : {"auto", "pca", "lda"}, default="auto"
        Where training starts; "auto" is LDA, widened, where labels take part, else PCA.
    shrinkage : float in [0, 1], "auto" or None, default=0.1
        Of the covariances in LDA; "auto" is Ledoit & Wolf's, class by class.
    wide : bool, default=False
        Let ``lda`` have more components than classes allow: principal
        components of what the discriminants leave follow them.
    class_weight : None, "balanced" or dict of label to weight, default=None
        For the task term and for LDA; unnamed labels weigh 1.
    reconstruction_weight : float, default=1.0
        Of the reconstruction term beside the task term.
    hidden : int, default=256
        Hidden width of ``mlp``.
    epochs, batch_size, learning_rate, weight_decay : default=100, 128, 3e-3, 1e-2
        Of AdamW. ``epochs=0`` gives the closed-form start.
    patience : int, default=10
        Checks without a better held-out loss before training stops; there is one
        after every epoch, or after every 16 steps where epochs are shorter.
    validation_share : float, default=0.1
        Of the rows (of the groups, when `fit` gets them) held out for early
        stopping; 0 trains all epochs on all rows.
    solver : {"exact", "sample", "subspace"}, default="exact"
        How the moments are found: over all rows; over a sample that grows until
        the captured variance settles to 1e-4; or in one cheap pass for the
        leading principal components alone.
    random_state : int or None, default=0
        Seeds projection, initial weights, held-out rows and shuffling.

    Attributes
    ----------
    module_ : nn.Module
        Raw embedding to target.
    n_features_in_, n_components_ : int
        Widths dim and d.
    classes_ : list or None
        Labels seen in fitting.
    head_ : LinearCompressor or None
        The classifier trained on the target.
    component_variance_ : ndarray of shape (d,)
        Variance of each component over the fitted rows.
    retained_variance_ : ndarray of shape (d,)
        Share of the (scaled) variance that the first k components give back linearly.
    history_ : list of dict
        Losses per epoch, empty for closed forms.

    References
    ----------
    .. [1] Ding & Lerch, "Embedding Compression for Teacher-to-Student Knowledge
       Transfer", 2024. https://arxiv.org/abs/2402.06761

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    >>> Compressor(4, method="pca").fit(X).transform(X).shape
    (100, 4)
    """

    def __init__(
        self,
        n_components: float | None = 64,
        method: str = "linear",
        objective: str = "task",
        *,
        center: bool = True,
        scale: bool = False,
        whiten: bool = False,
        nested: bool = False,
        start: str = "auto",
        shrinkage: float | str | None = 0.1,
        wide: bool = False,
        class_weight: str | dict[Any, float] | None = None,
        reconstruction_weight: float = 1.0,
        hidden: int = 256,
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int = 10,
        validation_share: float = 0.1,
        solver: str = "exact",
        random_state: int | None = 0,
    ):
        self.n_components = n_components
        self.method = method
        self.objective = objective
        self.center = center
        self.scale = scale
        self.whiten = whiten
        self.nested = nested
        self.start = start
        self.shrinkage = shrinkage
        self.wide = wide
        self.class_weight = class_weight
        self.reconstruction_weight = reconstruction_weight
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation_share = validation_share
        self.solver = solver
        self.random_state = random_state

    def fit(self, X, y=None, *, ids=None, groups=None) -> Compressor:
        """Learn the compression.

        Parameters
        ----------
        X : array-like of shape (n, dim), tensor, memory map, store or Concatenation
            Closed forms read it in blocks, so it may be larger than memory.
        y : array-like of shape (n,) or (n, n_classes), optional
            Labels; see :func:`embcomp.compression.targets.encode`. -1 among
            integers, NaN and None mean unlabelled.
        ids : sequence of str of length n, optional
            Names of the rows; a store brings its own. See :meth:`seen`.
        groups : array-like of shape (n,), optional
            Groups (speakers, machines) never divided by the held-out share.

        Raises
        ------
        DataError
            Too many components, fewer than two classes, NaN or infinity,
            constant data, or lengths that differ.
        ConfigError
            A parameter is unknown or out of range.
        """
        params = self.get_params(deep=False)
        parameters.check(params)
        rows = as_rows(X)
        validate_data(self, X if hasattr(X, "columns") else rows, skip_check_array=True)
        targets = parameters.check_data(params, rows, y, ids, groups)
        membership = None
        if targets is not None and parameters.needs_classes(params):
            membership = targets.membership(targets.class_weights(self.class_weight))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        moments, class_moments = sums(rows, membership, self.solver, self.n_components, seed)
        groups = None if groups is None else np.asarray(groups)
        self.__dict__.pop("moments_", None)
        return self._solve(moments, class_moments, rows, targets, groups, rows.ids if ids is None else ids, seed)

    def fit_moments(self, moments: Moments, *, ids=None) -> Compressor:
        """Fit a closed form from moments that were summed elsewhere.

        Parameters
        ----------
        moments : Moments
            For ``lda``, with classes. Left as they are.
        ids : sequence of str, optional
            Names of the rows summed.

        Raises
        ------
        ConfigError
            The method trains on rows.
        """
        params = self.get_params(deep=False)
        parameters.check(params)
        if not (_is_sum_of_shards(self) or self.method == "lda"):
            raise ConfigError(f"method={self.method!r} with objective={self.objective!r} trains on rows; use fit")
        if self.method == "lda" and moments.n_classes < 2:
            raise DataError("lda needs moments with two classes or more")
        if moments.count < 2:
            raise DataError(f"a compressor needs at least 2 rows, got n_samples={moments.count}")
        self.n_features_in_ = moments.n_features
        return self._solve(moments, moments, ids=ids)

    @available_if(_is_sum_of_shards)
    def partial_fit(self, X, y=None, *, ids=None) -> Compressor:
        """Add rows; the result equals one fit on all rows added so far.

        Parameters
        ----------
        X : array-like of shape (n, dim)
        y : ignored
        ids : sequence of str of length n, optional
        """
        parameters.check(self.get_params(deep=False))
        first = not hasattr(self, "moments_")
        rows = as_rows(X)
        validate_data(self, X if hasattr(X, "columns") else rows, skip_check_array=True, reset=first)
        if first:
            self.moments_, self._ids = Moments(rows.shape[1]), []
        fresh = collect(rows)
        parameters.check_components(self.n_components, self.moments_.count + fresh.count, rows.shape[1], self.method)
        self.moments_.merge(fresh)
        ids = rows.ids if ids is None else ids
        self._ids = None if ids is None or self._ids is None else self._ids + list(ids)
        return self._solve(self.moments_, ids=self._ids)

    def _solve(
        self, moments, class_moments=None, rows=None, targets=None, groups=None, ids=None, seed=None
    ) -> Compressor:
        params = self.get_params(deep=False)
        widths, weights = (rows.widths, rows.weights) if rows is not None else (None, None)
        frame = make_frame(moments, self.center, self.scale, widths, weights)
        count = moments.count if rows is None else len(rows)
        size = parameters.check_components(self.n_components, count, moments.n_features, self.method)
        if isinstance(size, float):
            size = components_for_share(frame.covariance(moments), size)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1)) if seed is None else seed
        problem = Problem(params, size, moments, frame, seed, class_moments, rows, targets, groups)
        solution = METHODS[self.method](problem)
        decoders = find_decoders(solution, problem)
        self.module_ = decoders.fold(solution, frame)
        self.decoders_ = decoders
        self.head_, self.history_ = solution.head, solution.history
        self.classes_ = None if targets is None else targets.classes
        self.component_variance_, self.retained_variance_ = decoders.component_variance, decoders.retained_variance
        self.n_components_ = self._n_features_out = size
        self.n_samples_ = count
        self.seen_ = None if ids is None else np.unique(hash_ids(ids))
        return self

    def transform(self, X) -> np.ndarray:
        """Compress rows.

        Parameters
        ----------
        X : array-like of shape (n, dim), tensor, memory map, store or Concatenation
            A bfloat16 tensor is multiplied in bfloat16, all else in its own precision.

        Returns
        -------
        ndarray of shape (n, d), float32
        """
        check_is_fitted(self)
        rows = as_rows(X)
        validate_data(self, X if hasattr(X, "columns") else rows, skip_check_array=True, reset=False)
        out = apply(self.module_, rows)
        if not np.isfinite(out).all():
            raise_not_finite(rows)
        return out

    def inverse_transform(self, Z) -> np.ndarray:
        """Best guess of the embeddings from their targets.

        Exact least squares for linear methods, the trained decoder for ``mlp``
        with a reconstruction term.

        Parameters
        ----------
        Z : array-like of shape (n, k)
            All d components, or the first k of a nested compressor.

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        check_is_fitted(self)
        rows = as_rows(Z)
        if rows.shape[1] != self.n_components_:
            return self.truncate(rows.shape[1]).inverse_transform(Z)
        return apply(self.decoders_.module, rows)

    def truncate(self, size: int) -> Compressor:
        """The fitted compressor to the first `size` components.

        Parameters
        ----------
        size : int
            From 1 to d.

        Raises
        ------
        DataError
            Out of range, or trained without ``nested=True``, when a prefix has no meaning.
        """
        check_is_fitted(self)
        if not 1 <= size <= self.n_components_:
            raise DataError(f"this compressor has {self.n_components_} components; cannot keep {size}")
        trained = self.method in TRAINABLE and self.history_
        if trained and not self.nested and size < self.n_components_:
            raise DataError("a prefix of components trained together has no meaning; fit with nested=True")
        other = type(self)(**{**self.get_params(deep=False), "n_components": int(size)})
        other.__dict__.update({name: value for name, value in vars(self).items() if name.endswith("_")})
        other.__dict__.pop("moments_", None)
        other.module_ = self.module_.first(size)
        other.decoders_ = self.decoders_.first(size)
        other.component_variance_ = self.component_variance_[:size]
        other.retained_variance_ = self.retained_variance_[:size]
        other.n_components_ = other._n_features_out = int(size)
        if self.head_ is not None:
            other.head_ = first_inputs(self.head_, size)
        return other

    def seen(self, ids) -> list[str]:
        """Those of `ids` that fitting used; empty as well when `fit` was given no ids.

        Parameters
        ----------
        ids : iterable of str
        """
        check_is_fitted(self)
        return [] if self.seen_ is None else known(ids, self.seen_)

    def report(self, X, y=None, *, show: int = 5) -> Report:
        """What was kept and lost on rows ``(n, dim)``; see :class:`Report`."""
        check_is_fitted(self)
        return report(self, X, y, show)

    def to_module(self) -> nn.Module:
        """A trainable copy of the module, ``(*, dim) -> (*, d)``, raw embeddings in."""
        import copy

        check_is_fitted(self)
        return copy.deepcopy(self.module_)

    def to_onnx(self, path: str | os.PathLike) -> None:
        """Export the module: input ``embedding`` ``(n, dim)``, output ``target`` ``(n, d)``."""
        from embcomp.compression.persistence import to_onnx

        to_onnx(self.to_module(), path)

    def save(self, path: str | os.PathLike) -> None:
        """Write ``weights.safetensors`` and ``config.json`` into the folder `path`."""
        from embcomp.compression.persistence import save

        check_is_fitted(self)
        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Compressor:
        """Read a saved compressor back.

        Raises
        ------
        ArtifactError
            Missing, damaged, of another kind, or not what its config says.
        """
        from embcomp.compression.persistence import load

        return load(cls, path)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = parameters.needs_labels(self.get_params(deep=False))
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
