"""Every misuse has a message of its own that says what is wrong and how to mend it."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from embcomp.compression import Compressor, Concatenation, Moments, Quantiser
from embcomp.compression.decoders import find_decoders
from embcomp.compression.frame import ConstantColumnWarning, make_frame
from embcomp.compression.methods import METHODS
from embcomp.compression.modules import MLPCompressor
from embcomp.compression.problem import Problem, Solution
from embcomp.compression.rows import as_rows
from embcomp.errors import ConfigError, DataError, EmbcompError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 8))
Y = RNG.integers(0, 3, 40)


def spoiled(rows, value):
    bad = X.astype(np.float32)
    bad[rows, 2] = value
    return bad


def problem(*given, rows=None):
    """What a method is given of moments alone, or of rows without labels."""
    moments = Moments(8).update(X)
    return Problem(Compressor(2, *given).get_params(), 2, moments, make_frame(moments, True, False), 0, rows=rows)


CASES = {
    "too many for the dimensions": (
        lambda: Compressor(9, "pca").fit(X),
        DataError,
        r"n_components=9 is more than 8, the most that 40 rows of 8 dimensions allow .*compressor.dim",
    ),
    "too many for the rows": (
        lambda: Compressor(6, "pca").fit(X[:5]),
        DataError,
        r"n_components=6 is more than 5",
    ),
    "more discriminants than classes allow": (
        lambda: Compressor(3, "lda").fit(X, Y),
        DataError,
        r"lda of 3 classes has at most 2 discriminants, 3 components .* wide=True",
    ),
    "one class": (
        lambda: Compressor(2).fit(X, np.zeros(40, int)),
        DataError,
        r"labels hold one class only \(\[0\]\)",
    ),
    "one class beside -1": (
        lambda: Compressor(2).fit(X, np.where(Y == 0, 1, -1)),
        DataError,
        r"one class only.*-1 among integers means unlabelled",
    ),
    "one class in every column": (
        lambda: Compressor(2).fit(X, np.ones((40, 2))),
        DataError,
        r"every column is constant",
    ),
    "NaN": (
        lambda: Compressor(2, "pca").fit(spoiled([3, 17], np.nan)),
        DataError,
        r"2 of 40 rows hold NaN or infinity .*rows 3, 17",
    ),
    "infinity with classes": (
        lambda: Compressor(2).fit(spoiled([5], np.inf), Y),
        DataError,
        r"1 of 40 rows .*rows 5$",
    ),
    "NaN in transform": (
        lambda: Compressor(2, "pca").fit(X).transform(spoiled([39], np.nan)),
        DataError,
        r"rows 39",
    ),
    "NaN for the subspace solver": (
        lambda: Compressor(2, "pca", solver="subspace").fit(spoiled([1], np.nan)),
        DataError,
        r"rows 1$",
    ),
    "only constant columns": (
        lambda: Compressor(2, "pca").fit(np.ones((40, 8))),
        DataError,
        r"all 8 columns are constant over 40 rows",
    ),
    "rows and labels differ": (
        lambda: Compressor(2).fit(X, Y[:39]),
        DataError,
        r"40 rows of embeddings but 39 labels",
    ),
    "rows and ids differ": (
        lambda: Compressor(2, "pca").fit(X, ids=["a"]),
        DataError,
        r"40 rows of embeddings but 1 ids",
    ),
    "rows and groups differ": (
        lambda: Compressor(2).fit(X, Y, groups=[1, 2]),
        DataError,
        r"40 rows of embeddings but 2 groups",
    ),
    "no labels": (lambda: Compressor(2).fit(X), DataError, r"requires y to be passed"),
    "labels that are no matrix of 0 and 1": (
        lambda: Compressor(2).fit(X, np.full((40, 2), 0.5)),
        DataError,
        r"must hold 0, 1, and NaN",
    ),
    "unseen labels": (
        lambda: Compressor(2).fit(X, Y).report(X, np.where(Y == 0, 7, Y)),
        DataError,
        r"labels not seen in fitting: \['7'\]; known are",
    ),
    "class weight of an unknown label": (
        lambda: Compressor(2, class_weight={"cat": 2.0}).fit(X, Y),
        DataError,
        r"class_weight names 'cat'",
    ),
    "transform before fit": (lambda: Compressor(2).transform(X), NotFittedError, r"not fitted yet"),
    "save before fit": (lambda: Compressor(2).save("nowhere"), NotFittedError, r"not fitted yet"),
    "wrong width": (
        lambda: Compressor(2, "pca").fit(X).transform(X[:, :5]),
        ValueError,
        r"X has 5 features, but Compressor is expecting 8 features",
    ),
    "wrong width back": (
        lambda: Compressor(2, "pca").fit(X).inverse_transform(X),
        DataError,
        r"has 2 components; cannot keep 8",
    ),
    "prefix without nested": (
        lambda: Compressor(4, epochs=1).fit(X, Y).truncate(2),
        DataError,
        r"fit with nested=True",
    ),
    "singular within classes": (
        lambda: Compressor(2, "lda", shrinkage=0).fit(np.c_[X, X[:, :1]], Y),
        DataError,
        r"singular .* set shrinkage above 0",
    ),
    "misspelt method": (lambda: Compressor(2, "liner").fit(X), ConfigError, r"did you mean 'linear'\?"),
    "misspelt objective": (lambda: Compressor(2, objective="tasks").fit(X), ConfigError, r"did you mean 'task'\?"),
    "misspelt solver": (lambda: Compressor(2, solver="subspaces").fit(X), ConfigError, r"did you mean 'subspace'\?"),
    "no components": (lambda: Compressor(0, "pca").fit(X), ConfigError, r"n_components must be a positive integer"),
    "share above one": (lambda: Compressor(1.5, "pca").fit(X), ConfigError, r"share of variance in \(0, 1\)"),
    "half an epoch": (lambda: Compressor(2, epochs=0.5).fit(X, Y), ConfigError, r"epochs must be an integer"),
    "negative rate": (lambda: Compressor(2, learning_rate=-1).fit(X, Y), ConfigError, r"learning_rate must be"),
    "shrinkage above one": (lambda: Compressor(2, "lda", shrinkage=2).fit(X, Y), ConfigError, r"shrinkage must be"),
    "reconstruction from lda": (
        lambda: Compressor(2, "mlp", "reconstruction", start="lda").fit(X, Y),
        ConfigError,
        r"start='lda' needs an objective with labels",
    ),
    "a share with a fast solver": (
        lambda: Compressor(0.5, "pca", solver="sample").fit(X),
        ConfigError,
        r"needs a number of components",
    ),
    "a subspace of scaled rows": (
        lambda: Compressor(2, "pca", solver="subspace", scale=True).fit(X),
        ConfigError,
        r"use 'exact' or 'sample'",
    ),
    "a diverging rate": (
        lambda: Compressor(2, "mlp", "reconstruction", learning_rate=1e30, epochs=20).fit(X),
        DataError,
        r"training diverged in epoch \d+; lower learning_rate",
    ),
    "teachers of different length": (
        lambda: Concatenation([X, X[:5]]),
        DataError,
        r"different numbers of rows: \[40, 5\]",
    ),
    "a weight of zero": (lambda: Concatenation([X, X], weights=[1, 0]), DataError, r"2 teachers need as many positive"),
    "moments of another width": (lambda: Moments(7).update(X), DataError, r"rows have 8 dimensions, these moments 7"),
    "moments that do not fit": (
        lambda: Moments(8).merge(Moments(8, 2)),
        DataError,
        r"cannot merge moments of 8 dimensions and 2 classes",
    ),
    "moments without classes": (
        lambda: Compressor(2, "lda").fit_moments(Moments(8).update(X)),
        DataError,
        r"lda needs moments with two classes",
    ),
    "moments for a trained method": (
        lambda: Compressor(2, "mlp").fit_moments(Moments(8).update(X)),
        ConfigError,
        r"trains on rows; use fit",
    ),
    "Ledoit-Wolf from moments": (
        lambda: Compressor(1, "lda", shrinkage="auto").fit_moments(Moments(8, 3).update(X, np.eye(3)[Y])),
        DataError,
        r"needs the rows",
    ),
    "discriminants of moments without classes": (
        lambda: METHODS["lda"](problem("lda")),
        DataError,
        r"^lda needs rows with labels$",
    ),
    "training on moments": (
        lambda: METHODS["mlp"](problem("mlp", "reconstruction")),
        DataError,
        r"^training needs the rows themselves",
    ),
    "training for a task without labels": (
        lambda: METHODS["linear"](problem("linear", "both", rows=as_rows(X))),
        DataError,
        r"and labels unless the objective is reconstruction$",
    ),
    "the decoder of a hidden layer from moments": (
        lambda: find_decoders(Solution(MLPCompressor(8, 2)), problem("mlp")),
        DataError,
        r"^the decoder of a trained code needs the rows, not their moments alone$",
    ),
    "unknown integer width": (lambda: Quantiser("int4"), ConfigError, r"unknown dtype 'int4'"),
    "codes of another type": (
        lambda: Quantiser("int8").fit(X).inverse_transform(X),
        DataError,
        r"expected int8 codes of shape \(n, 8\), got float64",
    ),
    "quantiser before fit": (lambda: Quantiser().transform(X), DataError, r"not fitted yet"),
    "quantiser of another width": (
        lambda: Quantiser().fit(X).transform(X[:, :3]),
        DataError,
        r"3 dimensions, the quantiser was fitted on 8",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()


def test_every_message_is_of_one_kind_only():
    messages = [message for _, error, message in CASES.values() if issubclass(error, EmbcompError)]
    assert len(set(messages)) == len(messages)


def test_bad_rows_are_named_by_their_ids_where_there_are_any():
    class Store:
        data, ids = spoiled([2], np.nan), [f"clip{row}.wav" for row in range(40)]

    with pytest.raises(DataError, match=r"rows 2 \(clip2.wav\)"):
        Compressor(2, "pca").fit(Store())


def test_constant_columns_are_warned_of_when_scaled_and_do_no_harm():
    constant = np.c_[X, np.full(40, 3.0)]
    with pytest.warns(ConstantColumnWarning, match="1 of 9 columns are constant and cannot be scaled: 8"):
        codes = Compressor(4, "pca", scale=True).fit_transform(constant)
    expected = Compressor(4, "pca", scale=True).fit_transform(X)
    np.testing.assert_allclose(codes, expected, atol=1e-5)


def test_finite_float32_rows_whose_squares_overflow_are_not_called_nan():
    huge = torch.full((5000, 1200), 1e30)
    huge[::2] = -1e30
    with pytest.raises(DataError, match="too large"):
        Compressor(2, "pca").fit(huge)
