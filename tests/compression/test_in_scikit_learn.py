"""The compressor among scikit-learn's own tools, and under settings that others leave behind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embcomp.compression import Compressor


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    return (rng.normal(size=(120, 12)) + 2 * np.eye(12)[y]).astype(np.float32), y


def small(**options):
    return Compressor(2, "linear", "task", epochs=2, **options)


def test_in_a_pipeline_and_a_search_over_two_processes(data):
    X, y = data
    model = make_pipeline(StandardScaler(), small(), LogisticRegression())
    grid = GridSearchCV(
        model, {"compressor__n_components": [1, 2], "compressor__method": ["pca", "linear"]}, cv=2, n_jobs=2
    )
    grid.fit(X, y)
    assert grid.best_params_["compressor__n_components"] == 2 and grid.best_score_ > 0.6
    assert not np.isnan(grid.cv_results_["mean_test_score"]).any()


def test_in_a_column_transformer_with_pandas_out(data):
    X, y = data
    table = pd.DataFrame(X, columns=[f"e{number}" for number in range(12)])
    table["note"] = "x"
    columns = ColumnTransformer([("small", small(), [f"e{n}" for n in range(12)])], remainder="drop")
    found = columns.set_output(transform="pandas").fit_transform(table, y)
    assert list(found.columns) == ["small__compressor0", "small__compressor1"]
    assert list(found.index) == list(table.index)
    alone = small().set_output(transform="pandas").fit(table.drop(columns="note"), y)
    np.testing.assert_allclose(alone.transform(table.drop(columns="note")).to_numpy(), found.to_numpy(), atol=1e-6)


@pytest.mark.parametrize("method, objective", [("pca", "reconstruction"), ("linear", "both"), ("mlp", "task")])
def test_under_no_grad_and_another_default_dtype_it_learns_the_same(data, method, objective):
    X, y = data
    expected = Compressor(2, method, objective, epochs=3).fit(X, y).transform(X)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            found = Compressor(2, method, objective, epochs=3).fit(X, y)
            codes = found.transform(X)
    finally:
        torch.set_default_dtype(before)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, expected, atol=1e-4)
    assert all(parameter.dtype == torch.float32 for parameter in found.to_module().parameters())
    with torch.inference_mode():
        again = Compressor(2, method, objective, epochs=3).fit(X, y).transform(X)
    np.testing.assert_allclose(again, expected, atol=1e-4)
