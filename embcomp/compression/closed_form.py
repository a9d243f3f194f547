"""Projections that need no training: PCA, LDA, random; and the least-squares decoder of any of them.

All work on moments, never on rows, so their cost does not grow with n.
Every projection is a weight of shape ``(d, dim)`` acting on centred rows.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from embcomp.errors import DataError

# Variance this far below the largest is float32's rounding, not the data's.
RESOLUTION = 1e-7
TINY = 1e-300
# From here on a few eigenvectors are found sooner by Lanczos' method, if it converges at once, than by taking a matrix apart.
MANY_DIMENSIONS = 384
RESTARTS = 20


def leading_eigh(matrix: np.ndarray, count: int, metric: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues and their eigenvectors of a symmetric matrix, which is overwritten.

    Parameters
    ----------
    matrix : ndarray of shape (dim, dim)
    count : int
        How many.
    metric : ndarray of shape (dim, dim), optional
        Positive definite; solves ``matrix v = value metric v``. Overwritten as well.

    Returns
    -------
    values : ndarray of shape (count,), descending
    vectors : ndarray of shape (count, dim)
        Rows; each one's largest entry is positive, so that signs are settled.
    """
    dim = len(matrix)
    # The transposes are views in the order LAPACK wants: nothing is copied.
    values, vectors = scipy.linalg.eigh(
        matrix.T,
        None if metric is None else metric.T,
        subset_by_index=None if count == dim else [dim - count, dim - 1],
        overwrite_a=True,
        overwrite_b=True,
        check_finite=False,
    )
    return values[::-1], settle_signs(vectors.T[::-1])


def settle_signs(vectors: np.ndarray) -> np.ndarray:
    """Flip rows so that the entry of largest magnitude is positive, shape ``(d, dim)``."""
    largest = vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)]
    return vectors * np.where(largest < 0, -1.0, 1.0)[:, None]


def leading_svd(factor: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`leading_eigh` gives for ``factor factor^T``, `factor` of shape ``(dim, r)``."""
    vectors, values, _ = np.linalg.svd(factor, full_matrices=False)
    return values[:count] ** 2, settle_signs(vectors.T[:count])


def pca(values: np.ndarray, vectors: np.ndarray, whiten: bool = False) -> np.ndarray:
    """Principal components from the leading eigenpairs of the covariance, shape ``(d, dim)``.

    The best linear autoencoder spans the same space (Bourlard & Kamp 1988;
    Baldi & Hornik 1989).

    Parameters
    ----------
    whiten : bool, default=False
        Scale every component to unit variance; one without variance becomes zero.
    """
    if not whiten:
        return vectors
    floor = max(RESOLUTION**2 * values[0], TINY)
    return vectors * np.where(values > floor, 1 / np.sqrt(np.maximum(values, floor)), 0.0)[:, None]


def components_for_share(covariance: np.ndarray, share: float) -> int:
    """Fewest principal components that keep `share`, in (0, 1), of the variance."""
    values = np.clip(scipy.linalg.eigvalsh(covariance, check_finite=False)[::-1], 0, None)
    kept = np.cumsum(values) / values.sum()
    return int(np.searchsorted(kept, share - 1e-12) + 1)


def random_projection(count: int, dim: int, seed: int) -> np.ndarray:
    """Gaussian projection ``(count, dim)`` with entries N(0, 1/count) (Johnson & Lindenstrauss 1984)."""
    return np.random.default_rng(seed).standard_normal((count, dim)) / np.sqrt(count)


def shrink(covariance: np.ndarray, amount: float) -> np.ndarray:
    """``(1 - amount) covariance + amount * mean variance * I``, in place; `amount` in [0, 1]."""
    mean_variance = np.trace(covariance) / len(covariance)
    covariance *= 1 - amount
    covariance[np.diag_indices_from(covariance)] += amount * mean_variance
    return covariance


def shrunk_pair(
    total: np.ndarray, class_means: np.ndarray, priors: np.ndarray, amount: float
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance within classes and of all rows, both shrunk; `total` is overwritten.

    Shrinking class by class and averaging, as scikit-learn does, is the same:
    a fixed amount is linear in the covariance.

    Parameters
    ----------
    total : ndarray of shape (dim, dim)
        Covariance of all rows, divided by n.
    class_means : ndarray of shape (n_classes, dim)
        About the overall mean.
    priors : ndarray of shape (n_classes,)
        Shares of the classes, summing to 1.
    """
    within = shrink(total - (class_means.T * priors) @ class_means, amount)
    return within, shrink(total, amount)


def lda(within: np.ndarray, total: np.ndarray, count: int) -> np.ndarray:
    """Directions that separate classes best, as scikit-learn's ``eigen`` solver finds them.

    Solves ``S_b v = value S_w v`` with ``S_b = S_t - S_w`` (Fisher 1936;
    Friedman, "Regularized Discriminant Analysis", 1989).

    Parameters
    ----------
    within, total : ndarray of shape (dim, dim)
        Shrunk covariances S_w and S_t; overwritten.
    count : int
        Directions wanted, at most ``n_classes - 1``.

    Returns
    -------
    ndarray of shape (count, dim)
        Scaled to unit variance within classes.

    Raises
    ------
    DataError
        S_w is singular.
    """
    total -= within
    try:
        if len(total) >= MANY_DIMENSIONS and 4 * count <= len(total):
            found = _leading_ratios(total, within, count)
            if found is not None:
                return found
        return leading_eigh(total, count, within)[1]
    except np.linalg.LinAlgError:
        raise DataError(
            "the covariance within classes is singular (fewer rows than dimensions, or constant dimensions); "
            "set shrinkage above 0"
        ) from None


def _leading_ratios(between: np.ndarray, within: np.ndarray, count: int) -> np.ndarray | None:
    """What `leading_eigh` finds of ``between v = value within v``, by Lanczos' method; None if it does not converge soon.

    Classes differ much in a few directions alone, at most as many as there are classes but one: it converges in a few products.
    """
    lower = np.linalg.cholesky(within)

    def product(vector: np.ndarray) -> np.ndarray:
        image = between @ scipy.linalg.solve_triangular(lower, vector, trans="T", lower=True, check_finite=False)
        return scipy.linalg.solve_triangular(lower, image, lower=True, check_finite=False)

    dim = len(between)
    start = np.random.default_rng(0).standard_normal(dim)  # settled, so that a fit repeats to the bit
    operator = LinearOperator((dim, dim), matvec=product, dtype=between.dtype)
    try:
        values, vectors = eigsh(operator, count, which="LA", v0=start, maxiter=RESTARTS)
    except ArpackError:
        return None
    order = np.argsort(values)[::-1]
    back = scipy.linalg.solve_triangular(lower, vectors[:, order], trans="T", lower=True, check_finite=False)
    return settle_signs(back.T)


def widen(weight: np.ndarray, covariance: np.ndarray, count: int) -> np.ndarray:
    """Add to a projection the principal components of what it leaves unexplained.

    Parameters
    ----------
    weight : ndarray of shape (k, dim)
    covariance : ndarray of shape (dim, dim)
        Overwritten.
    count : int
        Components wanted in all, at least k.

    Returns
    -------
    ndarray of shape (count, dim)
        The first k rows are `weight`; of the others the first has unit variance and
        the rest less, in proportion: whitening them would blow up noise.
    """
    back, _ = decoder(weight, covariance)
    covariance -= back @ (weight @ covariance)
    values, rest = leading_eigh(covariance, count - len(weight))
    rest = rest / np.sqrt(max(values[0], TINY))
    # On the residual, x - back W x, so that what is added is new: rest (I - back W).
    return np.concatenate([weight, rest - (rest @ back) @ weight])


def decoder(weight: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares linear decoder of ``z = W x``, and what it needs.

    Returns
    -------
    back : ndarray of shape (dim, d)
        ``C W^T (W C W^T)^+``: for PCA its transpose, for any other projection the
        best linear guess of x from z.
    gram : ndarray of shape (d, d)
        Covariance of z. The decoder of the first k components alone is
        ``(back gram)[:, :k] gram[:k, :k]^+``.
    """
    cross = covariance @ weight.T
    gram = weight @ cross
    return solve_decoder(cross, gram), gram


def solve_decoder(cross: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """``cross gram^+`` for a positive semi-definite `gram` ``(d, d)``; shape ``(dim, d)``.

    Components are put on one scale first: the code may mix tiny and large ones.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), 0))
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0.0)
    scaled = inverse[:, None] * gram * inverse
    return ((cross * inverse) @ np.linalg.pinv(scaled, rcond=1e-10, hermitian=True)) * inverse
