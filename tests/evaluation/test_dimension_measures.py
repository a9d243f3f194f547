"""What a curve measures, against independent implementations; its folds, its recommendation and its picture."""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from embcomp.compression import Compressor
from embcomp.compression.targets import encode
from embcomp.errors import DataError, MissingDependencyError
from embcomp.evaluation import dimension
from embcomp.evaluation.dimension import dimension_curve, plot_curve, recommend
from embcomp.learning import Logistic


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    X = rng.normal(size=(150, 6)) * [3, 1, 1, 0.2, 5, 1] + 2 * np.eye(6)[y] + 4
    return X.astype(np.float32), y


def fold_of(data, y=None, neighbours=7, rows=slice(0, 100)):
    X, labels = data
    targets = encode(labels if y is None else y, len(X))
    train = np.arange(len(X))[rows]
    return dimension._Fold(X, targets, train, np.setdiff1d(np.arange(len(X)), train), neighbours, 0.01, 0)


def framed(data):
    scaler = StandardScaler().fit(data[0][:100])
    return scaler.transform(data[0][:100]), scaler.transform(data[0][100:])


def test_measures_of_a_compressor_are_those_of_scikit_learn(data):
    fold, (train, test) = fold_of(data), framed(data)
    compressor = Compressor(2, "pca").fit(fold.train)
    codes = [compressor.transform(rows.astype(np.float32)) for rows in (train, test)]
    near = [
        NearestNeighbors(n_neighbors=7).fit(a).kneighbors(b, return_distance=False) for a, b in ((train, test), codes)
    ]
    found = fold(compressor)
    assert found["overlap"] == pytest.approx(np.mean([len(set(a) & set(b)) / 7 for a, b in zip(*near)]))
    lost = ((test - compressor.inverse_transform(codes[1])) ** 2).sum()
    assert found["retained"] == pytest.approx(1 - lost / ((test - train.mean(axis=0)) ** 2).sum(), abs=1e-5)
    # Scaled as a whole to one unit of variance for each dimension of the embedding.
    scale = np.sqrt(6 / codes[0].var(axis=0).sum())
    mean = codes[0].mean(axis=0)
    scores = Logistic((codes[0] - mean) * scale, data[1][:100], 3, 0.01, max_iter=300).scores((codes[1] - mean) * scale)
    expected = balanced_accuracy_score(data[1][100:], scores.argmax(axis=1))
    assert 0.4 < expected < 1 and found["score"] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_codes_are_scaled_to_the_variance_of_the_embedding(data, scale):
    fold = fold_of(data)
    train, test = (scale * (rows[:, :2] * [1, 3] + 5) for rows in framed(data))
    one, other = fold._alike(train, test)
    assert (one**2).sum() == pytest.approx(6 * 100) and np.abs(one.mean(axis=0)).max() < 1e-5
    factor = np.std(one[:, 0]) / np.std(train[:, 0])
    np.testing.assert_allclose(other, (test - train.mean(axis=0)) * factor, rtol=1e-4, atol=1e-4)


def test_codes_that_say_nothing_score_as_chance(data):
    fold = fold_of(data)
    assert fold._score(np.ones((100, 2)), np.ones((50, 2))) == pytest.approx(1 / 3)


def test_neighbours_of_at_most_a_thousand_rows_are_compared_and_of_no_more_than_there_are():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1100, 3)).astype(np.float32), np.arange(1100) % 2
    fold = fold_of((X, y), neighbours=10, rows=slice(0, 8))
    assert fold.neighbours == 8 and fold.nearest.shape == (1000, 8)
    assert len(set(fold.queries)) == 1000 and (np.diff(fold.queries) > 0).all() and fold.queries[-1] < 1092
    assert fold(Compressor(1, "pca").fit(fold.train))["overlap"] == 1  # all of them


def test_several_labels_are_scored_over_the_classes_that_a_fold_has(data):
    X, y = data
    labels = np.eye(3)[y]
    labels[::4, 0] = np.nan
    labels[100:, 2] = 0  # no held-out row has it
    fold = fold_of(data, labels)
    train, test = framed(data)
    scores = Logistic(train, labels[:100], 3, 0.01, max_iter=300).scores(test)
    known = ~np.isnan(labels[100:, 0])
    expected = [average_precision_score(labels[100:, 0][known], scores[known, 0])]
    expected.append(average_precision_score(labels[100:, 1], scores[:, 1]))
    assert fold.full["score"] == pytest.approx(np.mean(expected), abs=1e-4)
    fold.truth = np.zeros((50, 3))
    assert np.isnan(fold._score(fold.train, fold.test))


@pytest.mark.parametrize(
    ("groups", "several", "stratified"), [(5, False, False), (6, False, True), (9, False, True), (6, True, False)]
)
def test_folds_are_stratified_where_there_are_three_groups_for_each(groups, several, stratified):
    rng = np.random.default_rng(0)
    codes, y = rng.integers(0, groups, 90), rng.integers(0, 3, 90)
    targets = encode(np.eye(3)[y] if several else y, 90)
    folder = StratifiedGroupKFold(2, shuffle=True, random_state=5) if stratified else GroupKFold(2)
    expected = list(folder.split(codes, y, codes))
    for (train, test), (one, other) in zip(dimension._splits(targets, codes, 2, 5), expected, strict=True):
        np.testing.assert_array_equal(train, one)
        np.testing.assert_array_equal(test, other)


def test_there_are_no_more_folds_than_groups_and_no_larger_sizes_than_a_fold_has_rows(data):
    X, y = np.tile(data[0][:12], (1, 3)), data[1][:12]
    ticks = []
    curve = dimension_curve(
        X, y, np.arange(12) // 4, methods=("pca",), progress=lambda done, total: ticks.append((done, total))
    )
    assert curve["dim"].tolist() == [18, 2, 4] and set(curve["folds"]) == {3} and ticks[-1] == (3, 3)
    with pytest.raises(DataError, match="dims must lie between 1 and 8, what the smallest fold allows; got"):
        dimension_curve(X, y, np.arange(12) // 4, dims=(9,), methods=("pca",))
    alone = dimension_curve(data[0], data[1], dims=(2,), methods=("pca",))  # every row is its own group
    assert set(alone["folds"]) == {5}


@pytest.mark.parametrize("wrong", [(0, 2), (2, 6), (), (-1,)])
def test_sizes_lie_between_one_and_the_most(wrong):
    assert dimension._sizes((5, 1, 5, 3), 5) == [1, 3, 5]
    with pytest.raises(DataError, match="between 1 and 5"):
        dimension._sizes(wrong, 5)


@pytest.mark.parametrize("method", ["pca", "lda", "random", "identity", "linear", "mlp"])
def test_only_methods_that_train_are_fitted_size_by_size_and_only_where_they_are_not_nested(method):
    assert dimension._shared_fits(method, [2, 4], True) == [[2, 4]]
    one_by_one = method in ("linear", "mlp")
    assert dimension._shared_fits(method, [2, 4], False) == ([[2], [4]] if one_by_one else [[2, 4]])


def made(**rows) -> pd.DataFrame:
    """A curve of the full embedding at 0.9 and these: name to method, dim, score, behind."""
    lines = [("identity", 32, 0.9, 0.0), *rows.values()]
    table = pd.DataFrame(lines, columns=["method", "dim", "score", "behind"])
    for measure in dimension.MEASURES:
        table[measure] = table["score"]
        table[f"{measure}_low"], table[f"{measure}_high"] = table["score"] - 0.02, table["score"] + 0.03
    return table


def test_the_smallest_size_counts_and_of_equal_ones_the_best_score():
    curve = made(
        a=("pca", 8, 0.875, 0.03125),
        b=("lda", 8, 0.885, 0.015),
        c=("mlp", 8, 0.888, 0.012),
        d=("pca", 16, 0.95, -0.05),
        e=("lda", 4, 0.7, 0.2),
    )
    choice = recommend(curve)
    assert (choice.method, choice.dim, choice.score, choice.full_score, choice.full_dim) == ("mlp", 8, 0.888, 0.9, 32)
    assert str(choice) == "8 dimensions by mlp: score 0.888, within 0.02 of the 0.900 of all 32"
    at = recommend(curve, 0.03125, "pca")  # at the margin is within it
    assert (at.method, at.dim) == ("pca", 8)
    none = recommend(curve, 0.0, "lda")
    assert (none.method, none.dim) == ("identity", 32)
    assert str(none) == "no size is within 0 of the full embedding's 0.900: keep 32"


def test_the_picture_shows_the_numbers_of_the_curve(tmp_path):
    pytest.importorskip("matplotlib")
    names = [f"m{number}" for number in range(8)]
    curve = made(**{f"{name}{dim}": (name, dim, 0.5 + 0.1 * at, 0.4 - 0.1 * at)
                    for name in names for at, dim in enumerate((2, 4, 16))})  # fmt: skip
    figure = plot_curve(curve, margin=0.25)
    width, height = figure.get_size_inches()
    assert len(figure.axes) == 3 and 2.5 < width / height < 4
    for axes, title in zip(figure.axes, dimension.MEASURES.values(), strict=True):
        assert axes.get_title() == title and axes.get_xlabel() == "dimensions kept"
        *lines, full, choice = axes.get_lines()
        assert [line.get_label() for line in lines] == names
        markers = [line.get_marker() for line in lines]
        assert len(set(markers[:7])) == 7 and markers[7] == markers[0]
        for line, band in zip(lines, axes.collections, strict=True):
            np.testing.assert_allclose(line.get_xydata(), [[2, 0.5], [4, 0.6], [16, 0.7]])
            corners = band.get_paths()[0].vertices
            assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.48, 0.73))
            assert 0 < band.get_alpha() < 0.5
        assert set(full.get_ydata()) == {0.9} and full.get_label() == "all 32"
        assert set(choice.get_xdata()) == {16}
        assert axes.get_xscale() == "log" and axes.xaxis.get_transform().base == 2
        assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "4", "16"]
        assert axes.get_ylim() == pytest.approx((0.4, 1.02))
        assert any(line.get_visible() for line in axes.get_xgridlines())
    low = made(a=("pca", 4, 0.01, 0.9))
    assert plot_curve(low).axes[0].get_ylim() == pytest.approx((-0.05, 1.02))


def test_rows_that_are_not_finite_are_named_and_a_picture_asks_for_its_package(data, monkeypatch):
    spoiled = data[0].copy()
    spoiled[[4, 9], 2] = np.nan
    with pytest.raises(DataError, match="2 of 150 rows hold NaN or infinity .*: rows 4, 9"):
        dimension_curve(spoiled, data[1], methods=("pca",))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    runpy.run_path(dimension.__file__)  # nothing else asks for it
    with pytest.raises(MissingDependencyError, match=r"plots need matplotlib: pip install -e '\.\[viz\]'"):
        plot_curve(made())


def test_a_regression_of_a_curve_has_the_strength_that_was_asked_for(data, monkeypatch):
    asked = []

    def watched(train, labels, n_classes, strength, max_iter):
        asked.append((strength, max_iter))
        return SimpleNamespace(scores=lambda rows: np.ones((len(rows), n_classes)))

    monkeypatch.setattr(dimension, "Logistic", watched)
    dimension_curve(*data, dims=(2,), methods=("pca",), folds=2, probe_strength=0.5)
    assert set(asked) == {(0.5, 300)}
