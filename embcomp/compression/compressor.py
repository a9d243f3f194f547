"""The scikit-learn estimator around a fitted compression."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from embcomp.card.hub import OnHub
from embcomp.compression import parameters
from embcomp.compression.ambient import own_torch
from embcomp.compression.cells import names, refuse_other_order
from embcomp.compression.diagnostics import Report, report
from embcomp.compression.fit import fit_moments, fit_rows
from embcomp.compression.fitted import Fitted
from embcomp.compression.learned import Learned
from embcomp.compression.methods import TRAINABLE
from embcomp.compression.modules import CompressorModule
from embcomp.compression.moments import Moments
from embcomp.compression.persistence import load, save, to_onnx
from embcomp.compression.rows import as_rows
from embcomp.compression.tree import collect
from embcomp.errors import ArtifactError, DataError, EmbcompWarning


class Compressor(OnHub, Learned):
    """Compress frozen teacher embeddings to small targets.

    Parameters
    ----------
    n_components : int, float in (0, 1) or None, default=64
        Size of the target, d; a share asks for the fewest principal components
        that keep this much variance; None keeps all dimensions. Never changed
        in silence: more than ``min(n, dim)`` raises.
    method : {"identity", "random", "pca", "lda", "linear", "mlp"}, default="linear"
        All but the last two are closed forms.
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
    decoders_ : Decoders
        From the target, or its first components, back to the embedding.
    n_features_in_, n_components_ : int
        Widths dim and d.
    n_samples_ : int
        Rows fitted on.
    feature_names_in_ : ndarray of str of shape (dim,)
        Only where `fit` was given a data frame.
    classes_ : list or None
        Labels seen in fitting.
    head_ : LinearCompressor or None
        The classifier trained on the target.
    component_variance_ : ndarray of shape (d,)
        Variance of each component over the fitted rows.
    retained_variance_ : ndarray of shape (d,)
        Share of the (scaled) variance that the first k components give back linearly.
    history_ : list of dict
        Losses per check, empty for closed forms.
    seen_ : ndarray of int64 or None
        Hashes of the ids fitted on; see :meth:`seen`.

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

    moments_: Moments
    _ids: list[str] | None

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

    def fit(self, X: Any, y: Any = None, *, ids: Any = None, groups: Any = None) -> Compressor:
        """Learn the compression.

        Parameters
        ----------
        X : array-like of shape (n, dim), tensor, memory map, store or Concatenation
            Closed forms read it in blocks, so it may be larger than memory.
        y : array-like of shape (n,) or (n, n_classes), optional
            Labels, in a list, numpy, pandas, torch, masked or sparse array; see
            :func:`embcomp.compression.targets.encode`. -1 among integers, None, NaN,
            NA and masked values mean unlabelled.
        ids : sequence of str of length n, optional
            Names of the rows; a store brings its own. See :meth:`seen`.
        groups : array-like of shape (n,), optional
            Groups (speakers, machines) never divided by the held-out share. Every row has one.

        Raises
        ------
        DataError
            Too many components, fewer than two classes, NaN, infinity or masked values,
            constant data, lengths that differ, rows without a group or id, or
            pandas objects that name the same rows in another order.
        ConfigError
            A parameter is unknown or out of range.
        """
        params = self._checked_params()
        for what, given in (("labels", y), ("groups", groups), ("ids", ids)):
            refuse_other_order(X, given, what)
        rows = self._rows(X, reset=True)
        ids = rows.ids if ids is None else ids
        for name in ("moments_", "_loaded"):
            self.__dict__.pop(name, None)
        with own_torch():
            return self._take(fit_rows(params, rows, y, groups, ids, getattr(self, "feature_names_in_", None)))

    def fit_moments(self, moments: Moments, *, ids: Any = None) -> Compressor:
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
        with own_torch():
            return self._take(fit_moments(self._checked_params(), moments, ids))

    @available_if(lambda self: parameters.sums_over_rows(self.get_params(deep=False)))  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, *, ids: Any = None) -> Compressor:
        """Add rows, in batches of any size; the result equals one fit on all rows added so far.

        Rows are only summed here. The components are solved for when something first asks for them, so that many
        small batches cost no more than a few large ones; until there are as many rows as ``n_components`` the
        compressor counts as not fitted.

        Parameters
        ----------
        X : array-like of shape (n, dim)
        y : ignored
        ids : sequence of str of length n, optional

        Raises
        ------
        DataError
            More components than dimensions, another width than before, as many ids as there are not rows, or a
            compressor that was loaded, whose sums are not kept.

        Warns
        -----
        EmbcompWarning
            After `fit`, which keeps no sums: the rows are those of a new start.
        """
        params = self._checked_params()
        first = not hasattr(self, "moments_")
        if first and "fitted_" in self.__dict__:
            if hasattr(self, "_loaded"):
                raise DataError(
                    "a compressor is saved without its sums, so that rows cannot be added to those it was fitted on; "
                    "start a new one: sklearn.base.clone(compressor).partial_fit(X)"
                )
            warnings.warn(
                "fit keeps no sums: partial_fit starts anew, without the rows of fit", EmbcompWarning, stacklevel=2
            )
        rows = self._rows(X, reset=first)
        ids = rows.ids if ids is None else names(ids, len(rows))
        parameters.check_components(params, rows.shape[1], rows.shape[1])
        moments = collect(rows)
        if not first:
            moments = self.moments_ + moments
            ids = None if ids is None or self._ids is None else [*self._ids, *ids]
        self.moments_, self._ids = moments, ids
        self.__dict__.pop("fitted_", None)
        return self

    def _solve_if_summed(self) -> None:
        moments = self.__dict__.get("moments_")
        if "fitted_" in self.__dict__ or moments is None:
            return
        params, dim = self._checked_params(), moments.n_features
        size = parameters.check_components(params, dim, dim)
        # Of all dimensions, as of a share of the variance, fewer rows can say nothing.
        least = dim if params["n_components"] is None else size if isinstance(size, int) else 2
        if moments.count >= max(2, 1 if params["method"] == "identity" else least):
            with own_torch():
                self._take(fit_moments(params, moments, self._ids, getattr(self, "feature_names_in_", None)))

    def transform(self, X: Any) -> np.ndarray:
        """Compress rows.

        Parameters
        ----------
        X : array-like of shape (n, dim), tensor, memory map, store or Concatenation
            A bfloat16 tensor is multiplied in bfloat16 where the processor has instructions for it and in float32 elsewhere, all
            else in its own precision.

        Returns
        -------
        ndarray of shape (n, d), float32
        """
        return self._fitted().transform(self._rows(X))

    def inverse_transform(self, Z: Any) -> np.ndarray:
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
        fitted, codes = self._fitted(), as_rows(Z)
        return self._first(fitted, codes.shape[1]).inverse_transform(codes)

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
        part = self._first(self._fitted(), size)
        return type(self)(**{**self.get_params(deep=False), "n_components": int(size)})._take(part)

    def seen(self, ids: Any) -> list[str]:
        """Those of `ids` that fitting used; empty as well when `fit` was given no ids.

        An id ``file#start-end`` is a part of a file: it was used if a part that overlaps it was, or the whole file.

        Parameters
        ----------
        ids : iterable of str
        """
        return self._fitted().seen(ids)

    def report(self, X: Any, y: Any = None, *, show: int = 5) -> Report:
        """What was kept and lost on rows ``(n, dim)``; see :class:`Report`."""
        refuse_other_order(X, y, "labels")
        return report(self._fitted(), self._rows(X), y, show)

    def to_module(self) -> CompressorModule:
        """A trainable copy of the module, ``(*, dim) -> (*, d)``, raw embeddings in."""
        return copy.deepcopy(self.module_)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Export the module: input ``embedding`` ``(n, dim)``, output ``target`` ``(n, d)``."""
        to_onnx(self.to_module(), path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``weights.safetensors`` and ``config.json`` into the folder `path`."""
        save(self._fitted(), self.get_params(deep=False), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Compressor:
        """Read a saved compressor back.

        Raises
        ------
        ArtifactError
            Missing, damaged, of another kind, or not what its config says.
        """
        params, fitted = load(path)
        try:
            found = cls(**params)._take(fitted)
        except TypeError as error:
            raise ArtifactError(f"{path}: config.json is damaged or of another version ({error})") from None
        found._loaded = True
        return found

    def _checked_params(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        parameters.check(params)
        return params

    def _first(self, fitted: Fitted, size: int) -> Fitted:
        d = fitted.n_components
        if not 1 <= size <= d:
            raise DataError(f"this compressor has {d} components; cannot keep {size}")
        if size == d:
            return fitted
        if self.method in TRAINABLE and fitted.history and not self.nested:
            raise DataError("a prefix of components trained together has no meaning; fit with nested=True")
        return fitted.first(int(size))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = parameters.needs_labels(self.get_params(deep=False))
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
