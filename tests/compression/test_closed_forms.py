"""Closed forms against independent implementations, and properties that must hold."""

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from embcomp.compression import Compressor, closed_form, decoders
from embcomp.compression.frame import Frame
from embcomp.compression.moments import Moments

EMBEDDINGS = ["lyra_soundstream_192", "yamnet_1024"]


def same_up_to_sign(found, expected):
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture
def correlated():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20)) * np.linspace(3, 0.2, 20) @ rng.normal(size=(20, 20)) + rng.normal(size=20) * 10
    y = (X[:, 0] > np.median(X[:, 0])).astype(int) + 2 * (X[:, 1] > np.median(X[:, 1]))
    return X, y


def fsdd(shared, name):
    table = (shared / "data" / "fsdd" / "manifest.csv").read_text().splitlines()
    y = np.array([line.split(",")[1] for line in table[1:]])
    return np.load(shared / "data" / "fsdd" / "embeddings" / f"{name}.npy", mmap_mode="r"), y


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_pca_equals_scikit_learn_on_real_embeddings(shared, name):
    X, _ = fsdd(shared, name)
    wide = np.asarray(X, dtype=np.float64)
    ours, theirs = Compressor(32, "pca").fit(X), PCA(32, svd_solver="full").fit(wide)
    assert subspace_angles(ours.module_.weight.detach().double().numpy().T, theirs.components_.T).max() < 1e-4
    np.testing.assert_allclose(ours.component_variance_, theirs.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.retained_variance_, np.cumsum(theirs.explained_variance_ratio_), rtol=1e-4)
    same_up_to_sign(ours.transform(X), theirs.transform(wide))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_linear_autoencoder_reaches_pca_on_real_embeddings(shared, name):
    X, _ = fsdd(shared, name)
    wide = np.asarray(X, dtype=np.float64)

    def error(model):
        return ((model.inverse_transform(model.transform(wide)) - wide) ** 2).mean()

    best = error(PCA(16, svd_solver="full").fit(wide))
    assert best * (1 - 1e-6) <= error(Compressor(16, "linear", "reconstruction").fit(X)) <= best * (1 + 1e-3)


@pytest.mark.parametrize("shrinkage", [0.1, 0.7, "auto"])
def test_lda_equals_scikit_learn_on_real_embeddings(shared, shrinkage):
    X, y = fsdd(shared, "lyra_soundstream_192")
    wide = np.asarray(X, dtype=np.float64)
    ours = Compressor(9, "lda", shrinkage=shrinkage).fit(X, y)
    theirs = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(wide, y).transform(wide)
    same_up_to_sign(ours.transform(wide), theirs - theirs.mean(axis=0))


def test_lda_without_shrinkage_equals_scikit_learn(correlated):
    X, y = correlated
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(X, y).transform(X)
    same_up_to_sign(Compressor(3, "lda", shrinkage=None).fit(X, y).transform(X), theirs - theirs.mean(axis=0))


@pytest.mark.parametrize("restarts", [closed_form.RESTARTS, 1])
def test_few_directions_of_many_are_those_of_the_whole_matrix(monkeypatch, restarts):
    """By Lanczos' method, and where that does not converge soon, as with one restart for directions that hardly differ."""
    rng, dim, count = np.random.default_rng(0), closed_form.MANY_DIMENSIONS, 5
    rows = rng.normal(size=(2 * dim, dim))
    within, between = rows.T @ rows / len(rows), (means := rng.normal(size=(dim, count))) @ means.T
    if restarts == 1:
        between = np.eye(dim) + 1e-3 * between / np.trace(between)
    monkeypatch.setattr(closed_form, "RESTARTS", restarts)
    found = closed_form._leading_ratios(between, within, count)
    assert (found is None) is (restarts == 1)
    _, expected = closed_form.leading_eigh(between.copy(), count, within.copy())
    np.testing.assert_allclose(closed_form.lda(within.copy(), between + within, count), expected, atol=1e-8)


def test_lda_of_two_classes_and_of_one_multilabel_column_agree(correlated):
    X, y = correlated
    binary = y % 2
    single = Compressor(1, "lda").fit(X, binary).transform(X)
    column = Compressor(1, "lda").fit(X, binary[:, None].astype(float)).transform(X)
    np.testing.assert_allclose(single, column, atol=1e-5)


def test_multilabel_lda_counts_a_row_once_for_every_label(correlated):
    X, y = correlated
    labels = np.eye(4)[y]
    labels[:50, 0] = 1
    rows, classes = np.nonzero(labels)
    theirs = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.3).fit(X[rows], classes)
    expected = X @ theirs.scalings_[:, :3]
    found = Compressor(3, "lda", shrinkage=0.3).fit(X, labels).transform(X)
    same_up_to_sign(found - found.mean(axis=0), expected - expected.mean(axis=0))


def test_lda_works_with_more_dimensions_than_rows():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 10)
    X = rng.normal(size=(30, 100))
    X[:, :3] += 4 * np.eye(3)[y]
    codes = Compressor(2, "lda", shrinkage=0.2).fit(X, y).transform(X)
    centres = np.stack([codes[y == label].mean(axis=0) for label in range(3)])
    nearest = ((codes[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == y).all()


def test_wide_lda_keeps_the_discriminants_and_adds_uncorrelated_components(correlated):
    X, y = correlated
    wide = Compressor(20, "lda", wide=True).fit(X, y)
    narrow = Compressor(3, "lda").fit(X, y)
    codes = wide.transform(X)
    np.testing.assert_allclose(codes[:, :3], narrow.transform(X), atol=1e-4)
    correlation = np.corrcoef(codes.T)
    assert np.abs(correlation[3:, :3]).max() < 1e-3
    assert np.abs(correlation[3:, 3:] - np.eye(17)).max() < 1e-3
    np.testing.assert_allclose(wide.inverse_transform(codes), X, atol=1e-3 * np.abs(X).max())


@pytest.mark.parametrize("method", ["identity", "random", "pca", "lda", "linear"])
def test_all_dimensions_lose_nothing(correlated, method):
    X, y = correlated
    compressor = Compressor(20, method, "reconstruction", wide=True).fit(X, y)
    np.testing.assert_allclose(compressor.inverse_transform(compressor.transform(X)), X, atol=2e-3 * np.abs(X).max())
    assert compressor.retained_variance_[-1] == pytest.approx(1, abs=1e-6)


def test_low_rank_data_come_back(correlated):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 30)) + 5
    for method in ("random", "pca", "linear"):
        compressor = Compressor(4, method, "reconstruction").fit(X)
        np.testing.assert_allclose(compressor.inverse_transform(compressor.transform(X)), X, atol=1e-3)


@pytest.mark.parametrize("method", ["random", "lda", "identity"])
def test_nothing_beats_pca_on_reconstruction(correlated, method):
    X, y = correlated
    for size in (1, 3):
        other, pca = Compressor(size, method).fit(X, y), Compressor(size, "pca").fit(X)
        assert other.retained_variance_[-1] <= pca.retained_variance_[-1] + 1e-9


def test_whitening_gives_unit_variance(correlated):
    codes = Compressor(10, "pca", whiten=True).fit(correlated[0]).transform(correlated[0])
    np.testing.assert_allclose(np.cov(codes.T), np.eye(10), atol=1e-4)


def test_scaling_equals_standardising_first(correlated):
    X = correlated[0]
    standard = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    same_up_to_sign(Compressor(5, "pca", scale=True).fit(X).transform(X), PCA(5).fit(standard).transform(standard))


def test_without_centring_zero_stays_zero(correlated):
    compressor = Compressor(3, "pca", center=False).fit(correlated[0])
    assert not compressor.transform(np.zeros((1, 20))).any()
    _, _, expected = np.linalg.svd(correlated[0], full_matrices=False)
    assert subspace_angles(compressor.module_.weight.detach().double().numpy().T, expected[:3].T).max() < 1e-4


def test_share_of_variance_is_the_fewest_components(correlated):
    X = correlated[0]
    shares = np.cumsum(PCA().fit(X).explained_variance_ratio_)
    compressor = Compressor(0.9, "pca").fit(X)
    assert compressor.n_components_ == np.searchsorted(shares, 0.9) + 1
    assert compressor.n_components == 0.9


def test_identity_is_the_embedding_and_random_is_seeded(correlated):
    X = correlated[0]
    np.testing.assert_allclose(Compressor(None, "identity").fit_transform(X), X, rtol=1e-6)
    first, again, other = (Compressor(4, "random", random_state=seed).fit_transform(X) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_the_linear_module_carries_the_mean_as_its_bias(correlated):
    X = correlated[0].astype(np.float32)
    compressor = Compressor(4, "pca").fit(X)
    module = compressor.to_module()
    mean = torch.from_numpy(X.mean(axis=0))
    assert torch.allclose(module(mean), torch.zeros(4), atol=1e-3)
    torch.testing.assert_close(module.bias, -module.weight @ mean, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach(), compressor.transform(X), atol=1e-3)


@pytest.mark.parametrize("method", ["pca", "mlp"])
def test_modules_take_any_leading_shape(correlated, method):
    X = torch.from_numpy(correlated[0].astype(np.float32))
    module = Compressor(4, method, "reconstruction", epochs=1).fit(X).to_module()
    batched = module(X[:24].reshape(2, 3, 4, 20))
    assert batched.shape == (2, 3, 4, 4)
    torch.testing.assert_close(
        batched.reshape(24, 4), torch.stack([module(row) for row in X[:24]]), atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize("method", ["random", "pca", "lda", "identity"])
def test_closed_forms_are_nested(correlated, method):
    X, y = correlated
    compressor = Compressor(3, method).fit(X, y)
    for size in (1, 2, 3):
        part = compressor.truncate(size)
        codes = part.transform(X)
        np.testing.assert_allclose(codes, compressor.transform(X)[:, :size], atol=1e-5)
        error = ((part.inverse_transform(codes) - X) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
        assert error == pytest.approx(1 - compressor.retained_variance_[size - 1], abs=1e-4)


@pytest.mark.parametrize("excess", [0.0, 1e-10, 1e-7, 1e-4])
def test_codes_that_repeat_each_other_get_no_more_ridge_than_they_need(excess):
    correlation = np.array([[1, 1 + excess, 0.5], [1 + excess, 1, 0.5], [0.5, 0.5, 1]])
    lower = decoders._cholesky(correlation)
    assert np.abs(lower @ lower.T - correlation).max() <= 20 * max(excess, 1e-12)


@pytest.mark.parametrize("center", [True, False])
def test_the_total_variance_of_a_frame_is_the_trace_of_its_covariance(center):
    rows = np.random.default_rng(0).normal(2.0, [0.1, 1.0, 7.0], (50, 3))
    moments = Moments(3)
    moments.update(rows)
    mean = moments.mean if center else np.zeros(3)
    frame = Frame(mean, np.array([0.5, 2.0, 3.0]))
    framed = (rows - mean) / frame.scale
    assert frame.total_variance(moments) == pytest.approx((framed**2).sum() / 49)
    assert np.trace(frame.covariance(moments)) == pytest.approx(frame.total_variance(moments))
