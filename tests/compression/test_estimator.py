"""The compressor is a scikit-learn estimator, by scikit-learn's own checks."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from embcomp.compression import Compressor, Moments
from embcomp.compression import apply as applying
from embcomp.compression.frame import ConstantColumnWarning

FAST = {"epochs": 2, "hidden": 4}
ESTIMATORS = [
    Compressor(2, "identity"),
    Compressor(2, "random"),
    Compressor(2, "pca"),
    Compressor(2, "pca", whiten=True, scale=True),
    Compressor(2, "lda", wide=True),
    Compressor(2, "linear", "reconstruction"),
    Compressor(2, "linear", "task", **FAST),
    Compressor(2, "linear", "both", start="lda", nested=True, **FAST),
    Compressor(2, "mlp", "reconstruction", **FAST),
    Compressor(2, "mlp", "task", **FAST),
]


@pytest.mark.filterwarnings("ignore::embcomp.compression.frame.ConstantColumnWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def blobs():
    return make_blobs(200, n_features=12, centers=4, cluster_std=3.0, random_state=0)


def test_works_in_a_pipeline_and_a_grid_search(blobs):
    X, y = blobs
    pipeline = make_pipeline(Compressor(method="pca"), LogisticRegression())
    search = GridSearchCV(
        pipeline,
        {"compressor__n_components": [1, 4], "compressor__method": ["pca", "random"]},
        cv=3,
        error_score="raise",
    )
    assert search.fit(X, y).best_params_["compressor__n_components"] == 4


def test_a_clone_is_unfitted_and_has_equal_parameters(blobs):
    fitted = Compressor(3, "pca", whiten=True).fit(blobs[0])
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "module_")
    with pytest.raises(NotFittedError, match="not fitted yet"):
        _ = copy.retained_variance_


def test_refitting_from_moments_forgets_the_columns_of_a_data_frame(blobs):
    columns = [f"feature {column}" for column in range(12)]
    compressor = Compressor(3, "pca").fit(pd.DataFrame(blobs[0], columns=columns))
    assert compressor.feature_names_in_.tolist() == columns
    assert not hasattr(compressor.fit_moments(Moments(12).update(blobs[0])), "feature_names_in_")


def test_a_warning_points_at_the_call_that_fits(blobs):
    X = blobs[0].copy()
    X[:, 2] = 1.0
    with pytest.warns(ConstantColumnWarning, match="1 of 12 columns are constant") as caught:
        Compressor(3, "pca", scale=True).fit(X)
    assert caught[0].filename == __file__
    summed = Compressor(3, "pca", scale=True).partial_fit(X)  # solved when it is asked for
    with pytest.warns(ConstantColumnWarning, match="1 of 12 columns are constant"):
        summed.transform(X)


def test_pandas_output_names_its_columns(blobs):
    frame = Compressor(2, "pca").set_output(transform="pandas").fit_transform(blobs[0])
    assert list(frame.columns) == ["compressor0", "compressor1"]


@pytest.mark.parametrize("kind", ["list", "float16", "float32", "torch", "bfloat16", "integers", "fortran"])
def test_every_kind_of_array_gives_the_same_codes(kind):
    X = np.random.default_rng(0).integers(-8, 8, (60, 6)).astype(float)
    given = {
        "list": X.tolist(),
        "float16": X.astype(np.float16),
        "float32": X.astype(np.float32),
        "torch": torch.from_numpy(X).float().requires_grad_(),
        "bfloat16": torch.from_numpy(X).bfloat16(),
        "integers": X.astype(int),
        "fortran": np.asfortranarray(X.astype(np.float32)),
    }[kind]
    expected = Compressor(3, "pca").fit(X).transform(X)
    found = Compressor(3, "pca").fit(given).transform(given)
    assert found.dtype == np.float32
    # bfloat16 keeps 8 bits of every code.
    np.testing.assert_allclose(found, expected, atol=0.1 if kind == "bfloat16" else 1e-4)


@pytest.mark.parametrize("instructions", [True, False])
def test_bfloat16_rows_are_widened_where_the_processor_cannot_multiply_them(instructions, monkeypatch):
    X = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 6))).bfloat16()
    model = Compressor(3, "random", center=False).fit(X)
    monkeypatch.setattr(applying, "multiplies_bfloat16", lambda: instructions)
    found, exact = model.transform(X), model.transform(X.float().numpy())
    # Weights with 8 bits are told from those with 24.
    assert (np.abs(found - exact).max() < 1e-6) is not instructions
    np.testing.assert_allclose(found, exact, atol=0.1)
