"""Units do not matter: variances, decoders, training and reports at any scale, against formulas written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight

from embcomp.compression import Compressor, Concatenation, closed_form, diagnostics, loop
from embcomp.compression.diagnostics import Report
from embcomp.compression.moments import Moments
from embcomp.compression.objectives import Bottleneck, prefix_outputs, prefix_sizes
from embcomp.compression.rows import as_rows
from embcomp.compression.shrinkage import class_covariances, shrunk
from embcomp.compression.targets import encode

RNG = np.random.default_rng(0)
Y = np.arange(120) % 3
X = RNG.normal(size=(120, 8)) @ RNG.normal(size=(8, 8)) + 3 * np.eye(8)[Y] + RNG.normal(size=8)
SCALES = [1e-5, 1.0, 1e4]
METHODS = {
    "pca": {},
    "random": {},
    "identity": {},
    "whitened": {"method": "pca", "whiten": True},
    "lda": {"wide": True},
    "linear": {"objective": "both", "start": "pca", "epochs": 3},
    "mlp": {"objective": "both", "start": "pca", "epochs": 3, "hidden": 6},
    "scaled": {"method": "mlp", "objective": "reconstruction", "scale": True, "epochs": 3, "hidden": 6},
}


def fitted(name, scale=1.0, **more):
    return Compressor(5, **{"method": name, **METHODS[name], **more}).fit(X * scale, Y)


def given_back(codes, rows):
    """Share of the variance of `rows` that least squares from the first k codes gives back."""
    centred = rows - rows.mean(axis=0)
    design = [np.column_stack([codes[:, :k], np.ones(len(codes))]) for k in range(1, codes.shape[1] + 1)]
    left = [((rows - a @ np.linalg.lstsq(a, rows, rcond=None)[0]) ** 2).sum() for a in design]
    return 1 - np.array(left) / (centred**2).sum()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", METHODS)
def test_variances_are_those_of_the_codes_and_of_least_squares_from_them(name, scale):
    compressor = fitted(name, scale)
    codes = compressor.transform(X * scale).astype(float)
    np.testing.assert_allclose(compressor.component_variance_, codes.var(axis=0, ddof=1), rtol=1e-3)
    rows = X / X.std(axis=0, ddof=1) if name == "scaled" else X
    np.testing.assert_allclose(compressor.retained_variance_, given_back(codes / codes.std(), rows), atol=1e-3)
    if name != "mlp" and name != "scaled":
        lost = ((compressor.inverse_transform(codes) / scale - X) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
        assert 1 - lost == pytest.approx(compressor.retained_variance_[-1], abs=1e-3)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_training_does_not_know_units(name):
    one, *others = (fitted(name, scale) for scale in (1.0, 2.0**-12, 2.0**12))
    for other in others:
        pd.testing.assert_frame_equal(pd.DataFrame(other.history_), pd.DataFrame(one.history_), rtol=1e-3)


def test_whitened_components_have_unit_variance_and_those_without_variance_none():
    rows = np.concatenate([X, X[:, :1]], axis=1) * 1e-4
    codes = Compressor(9, "pca", whiten=True).fit(rows).transform(rows)
    np.testing.assert_allclose(codes[:, :8].var(axis=0, ddof=1), 1, rtol=1e-2)
    assert not codes[:, 8].any()
    fast = Compressor(4, "pca", whiten=True, solver="subspace").fit(X).transform(X)
    np.testing.assert_allclose(np.cov(fast.T), np.eye(4), atol=1e-3)


@pytest.mark.parametrize("scale", SCALES)
def test_after_the_discriminants_the_first_component_has_unit_variance_and_the_rest_their_share_of_it(scale):
    compressor = Compressor(8, "lda", wide=True, shrinkage=0.1).fit(X * scale, Y)
    found = compressor.component_variance_[2:]
    two = compressor.transform(X * scale)[:, :2]
    design = np.column_stack([two / two.std(), np.ones(120)])
    residual = X - design @ np.linalg.lstsq(design, X, rcond=None)[0]
    expected = np.linalg.eigvalsh(np.cov(residual.T))[::-1][:6]
    np.testing.assert_allclose(found, expected / expected[0], rtol=1e-3)


def test_a_share_of_the_variance_is_reached_exactly():
    covariance = np.diag([3e-3, 1e-3])
    assert closed_form.components_for_share(covariance, 0.75) == 1
    assert closed_form.components_for_share(covariance, 0.75 + 1e-6) == 2


def test_a_random_projection_keeps_lengths_and_comes_from_the_seed():
    weight = closed_form.random_projection(400, 60, 3)
    assert weight.var() == pytest.approx(1 / 400, rel=0.05)
    seed = int(check_random_state(7).randint(2**31 - 1))
    found = Compressor(4, "random", random_state=7).fit(X).module_.weight.detach().numpy()
    np.testing.assert_allclose(found, np.random.default_rng(seed).normal(size=(4, 8)) / 2, rtol=1e-6)


@pytest.mark.parametrize("scale", [False, True])
def test_identity_is_the_first_columns_scaled_where_asked_for(scale):
    compressor = Compressor(3, "identity", scale=scale).fit(X)
    expected = ((X - X.mean(axis=0)) / X.std(axis=0, ddof=1) if scale else X)[:, :3]
    np.testing.assert_allclose(compressor.transform(X), expected, atol=1e-5)
    all_of_it = Compressor(None, "identity", scale=scale).fit(X)
    np.testing.assert_allclose(all_of_it.inverse_transform(all_of_it.transform(X)), X, atol=1e-5)


@pytest.mark.parametrize("weights", [(1, 1), (4, 1), (0.5, 8)])
def test_teachers_have_the_shares_of_the_variance_that_their_weights_say(weights):
    second = np.concatenate([X[:, 5:], np.full((120, 1), 7.0)], axis=1)  # and a column that never changes
    both = Compressor(9, "pca").fit(Concatenation([X[:, :5], second], weights))
    centred = [X[:, :5] - X[:, :5].mean(axis=0), X[:, 5:] - X[:, 5:].mean(axis=0)]
    total = [np.sqrt(weight / part.var(axis=0, ddof=1).sum()) for part, weight in zip(centred, weights)]
    wide = np.concatenate([part * factor for part, factor in zip(centred, total)], axis=1)
    expected = np.linalg.eigvalsh(np.cov(wide.T))[::-1]
    np.testing.assert_allclose(both.component_variance_[:8], expected, rtol=1e-4)
    assert both.component_variance_.sum() == pytest.approx(sum(weights))


def test_one_teacher_alone_is_as_without_and_one_that_never_changes_adds_nothing():
    plain = Compressor(4, "pca").fit(X).transform(X)
    np.testing.assert_allclose(Compressor(4, "pca").fit(Concatenation([X])).transform(X), plain, atol=1e-5)
    constant = Concatenation([X, np.ones((120, 2))])
    found = Compressor(4, "pca").fit(constant)
    factor = np.sqrt(X.var(axis=0, ddof=1).sum())
    np.testing.assert_allclose(found.transform(constant) * factor, plain, atol=1e-4)


@pytest.mark.parametrize("scale", [False, True])
def test_a_report_is_that_of_its_formulas(scale):
    compressor = Compressor(3, "pca", scale=scale).fit(X[:80])
    rows, labels = X[60:] * 1.5 + 0.5, Y[60:]
    found = compressor.report(rows, labels, show=2)
    unit = X[:80].std(axis=0, ddof=1) if scale else np.ones(8)
    back = compressor.inverse_transform(compressor.transform(rows))
    error = (((rows - back) / unit) ** 2).sum(axis=1)
    retained = 1 - error / (((rows - X[:80].mean(axis=0)) / unit) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.retained, retained, atol=1e-4)
    centred = (rows - rows.mean(axis=0)) / unit
    assert found.retained_variance == pytest.approx(1 - error.sum() / (centred**2).sum(), abs=1e-4)
    order = np.argsort(-retained)
    assert [row for row, _ in found.most] == order[:2].tolist()
    assert [row for row, _ in found.least] == order[::-1][:2].tolist()
    assert [value for _, value in found.least] == pytest.approx(retained[order[::-1][:2]], abs=1e-4)
    for values, share in ((centred, found.separation_before), (compressor.transform(rows), found.separation_after)):
        between = sum(
            (labels == label).sum() * (values[labels == label].mean(axis=0) - values.mean(axis=0)) ** 2
            for label in range(3)
        )
        assert share == pytest.approx(between.sum() / ((values - values.mean(axis=0)) ** 2).sum(), abs=1e-4)
    np.testing.assert_allclose(found.component_variance, compressor.transform(rows).var(axis=0, ddof=1), rtol=1e-4)
    assert len(compressor.report(rows).most) == len(compressor.report(rows).least) == 5
    assert diagnostics.separation(as_rows(np.ones((6, 2))), np.eye(2)[[0, 1] * 3]) == 0


@pytest.mark.parametrize("count", [8, 9])
def test_a_report_in_words(count):
    variance = np.array([3.0, *[1.0] * (count - 1)])
    found = Report(10, 20, count, variance, 0.25, 0.125, 0.5, np.zeros(10), [("a", 0.5), (4, 0.25)], [("b", -1.0)])
    shares = " ".join(["30.0%" if count == 8 else "27.3%", *["10.0%" if count == 8 else "9.1%"] * 7])
    assert str(found).splitlines() == [
        f"20 -> {count} dimensions over 10 rows",
        "variance given back: 25.0%",
        f"share of the target's variance per component: {shares}{' ...' if count == 9 else ''}",
        "variance between classes: 12.5% -> 50.0%",
        "most retained: a (50.0%), 4 (25.0%)",
        "least retained: b (-100.0%)",
    ]


def test_moments_with_weights_have_the_variance_of_the_weighted_rows():
    weights = RNG.random((120, 2)) + 0.1
    weights[5] = 0  # left out
    found = Moments(8, 2).update(X, weights)
    total = weights.sum(axis=1)
    mean = np.average(X, axis=0, weights=total)
    second = np.average((X - mean) ** 2, axis=0, weights=total)
    assert found.count == 119 and found.mass == pytest.approx(total.sum())
    np.testing.assert_allclose(found.variance, second * 119 / 118)
    assert Moments(8).update(X[:1]).variance.tolist() == [0.0] * 8
    same = found.copy().merge(Moments(8, 2))
    np.testing.assert_array_equal(same.scatter, found.scatter)
    back = Moments.of_arrays(found.arrays())
    assert all(np.array_equal(one, other) for one, other in zip(back.arrays().values(), found.arrays().values()))


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2, -1], [40, 10, 20, 50])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels[labels >= 0])
    np.testing.assert_allclose(encode(labels, 120).class_weights("balanced"), expected)
    matrix = np.array([[1, 0], [1, np.nan], [0, 0], [0, 1], [0, 0]])
    assert encode(matrix, 5).class_weights("balanced").tolist() == [1.5, 3.0]
    matrix[3, 1] = 0
    assert encode(matrix, 5).class_weights("balanced").tolist() == [1.5, 4.0]
    np.testing.assert_array_equal(encode([[np.nan, np.nan], [np.nan, 1], [0, 0]], 3).known, [False, True, True])
    np.testing.assert_array_equal(encode([0, -1, 1], 3).known, [True, False, True])


@pytest.mark.parametrize("count", range(1, 20))
def test_prefixes_are_the_powers_of_two_and_all(count):
    assert prefix_sizes(count) == tuple(sorted({*(size for size in (1, 2, 4, 8, 16) if size < count), count}))


@pytest.mark.parametrize("several", [False, True])
def test_a_loss_is_the_mean_over_prefixes_of_its_weighed_terms(several):
    torch.manual_seed(0)
    encoder, decoder, head = torch.nn.Linear(6, 5), torch.nn.Linear(5, 6), torch.nn.Linear(5, 3)
    rows, sizes = torch.randn(7, 6), (1, 2, 5)
    targets = torch.randint(2, (7, 3)).float() if several else torch.tensor([0, 1, 2, 0, 1, 2, 2])
    loss = torch.nn.BCEWithLogitsLoss() if several else torch.nn.CrossEntropyLoss()
    codes = [torch.where(torch.arange(5) < size, encoder(rows), 0.0) for size in sizes]
    task = torch.stack([loss(head(code), targets) for code in codes]).mean()
    back = torch.stack([(decoder(code) - rows).square().mean() for code in codes]).mean()
    found = Bottleneck(encoder, decoder, head, several, None, 3.0, sizes).losses(rows, targets)
    torch.testing.assert_close(found, {"total": task + 3 * back, "task": task, "reconstruction": back})
    alone = Bottleneck(encoder, decoder, None, False, None, 3.0, sizes).losses(rows, None)
    torch.testing.assert_close(alone, {"total": back, "reconstruction": back})
    for reader in (decoder, torch.nn.Sequential(decoder)):
        torch.testing.assert_close(
            prefix_outputs(reader, encoder(rows), sizes), torch.stack([decoder(code) for code in codes])
        )


def trained(epochs=3, rate=0.0, share=0.0, batch=16, rows=40):
    """History of a small autoencoder on 40 rows."""
    torch.manual_seed(0)
    model = Bottleneck(torch.nn.Linear(8, 2), torch.nn.Linear(2, 8))
    frame = loop.Frame(np.zeros(8), np.ones(8))
    schedule = loop.Schedule(epochs, batch, rate, 0.0, 100, share)
    history = loop.train(model, as_rows(X[:rows].astype(np.float32)), frame, None, schedule, torch.Generator())
    return history, model


def test_checks_come_after_sixteen_steps_or_an_epoch_and_at_the_end():
    history, _ = trained(epochs=14)  # 3 steps an epoch
    assert [check["epoch"] for check in history] == [0, 6, 12, 14]
    assert [check["epoch"] for check in trained(epochs=3, batch=1)[0]] == [0, 1, 2, 3]
    assert history[0]["train"] is None and "validation" not in history[0]


def test_losses_of_a_history_are_means_over_rows(monkeypatch):
    history, model = trained(epochs=2)
    rows = torch.from_numpy(X[:40].astype(np.float32))
    expected = model.losses(rows, None)["total"].item()  # a rate of 0 moves nothing
    assert history[-1]["train"] == pytest.approx(expected, rel=1e-5)
    history, model = trained(epochs=2, share=0.3)
    monkeypatch.setattr(loop, "EVALUATION_ROWS", 5)
    pieces, _ = trained(epochs=2, share=0.3)
    held_out = loop.hold_out(40, 0.3, torch.Generator())[1]
    expected = model.losses(rows[held_out], None)["total"].item()
    for found in (history[-1], pieces[-1]):
        assert found["validation"] == found["reconstruction"] == pytest.approx(expected, rel=1e-5)
        assert set(found) == {"epoch", "train", "validation", "reconstruction"}


@pytest.mark.parametrize(
    ("count", "share", "out"), [(100, 0.001, 1), (100, 0.124, 12), (100, 0.9, 90), (2, 0.9, 1), (3, 0.5, 2)]
)
def test_at_least_one_row_is_held_out_and_at_least_one_is_not(count, share, out):
    groups = np.repeat(np.arange(count), 2)
    for given, factor in ((None, 1), (groups, 2)):
        training, held_out = loop.hold_out(count * factor, share, torch.Generator(), given)
        assert len(held_out) == out * factor and len(training) == (count - out) * factor
        assert (np.diff(training) > 0).all() and (np.diff(held_out) > 0).all()


def test_matrices_decay_and_biases_do_not():
    matrices, others = loop._parameter_groups(torch.nn.Linear(3, 2), 0.5)
    assert [one.shape for one in matrices["params"]] == [(2, 3)] and matrices["weight_decay"] == 0.5
    assert [one.shape for one in others["params"]] == [(2,)] and others["weight_decay"] == 0.0


@pytest.mark.parametrize("method", ["linear", "mlp"])
def test_training_starts_from_rows_and_codes_of_unit_variance(monkeypatch, method):
    seen = {}

    def train(model, rows, frame, *others):
        x = torch.from_numpy(frame.to(rows[:].astype(np.float32)))
        with torch.no_grad():
            code = model.encoder(x)
            seen.update(rows=x.var(dim=0), codes=code.var(dim=0), back=model.decoder(code), x=x)
        return []

    monkeypatch.setattr("embcomp.compression.training.train", train)
    compressor = Compressor(3, method, "both", start="pca", hidden=4).fit(X * 50 + 3, Y)
    for name in ("rows", "codes"):
        assert seen[name].mean().item() == pytest.approx(1, rel=1e-4)
    lost = (seen["back"] - seen["x"]).square().sum() / (seen["x"] - seen["x"].mean(dim=0)).square().sum()
    assert 1 - lost.item() == pytest.approx(compressor.retained_variance_[-1], abs=1e-4)
    pca = Compressor(3, "pca").fit(X * 50 + 3)
    codes = compressor.transform(X * 50 + 3)
    np.testing.assert_allclose(codes, pca.transform(X * 50 + 3), atol=1e-2)  # in the units of the start again
    np.testing.assert_allclose(compressor.inverse_transform(codes), pca.inverse_transform(codes), atol=1e-2)


@pytest.mark.parametrize("method", ["linear", "mlp"])
def test_the_losses_of_what_comes_out_are_those_of_the_history(method):
    """The head and the decoder, back in the units of codes and embeddings, lose as much as in training."""
    compressor = Compressor(3, method, "both", hidden=4, epochs=6, validation_share=0.4).fit(X * 20, Y)
    seed = int(check_random_state(0).randint(2**31 - 1))
    held_out = loop.hold_out(120, 0.4, torch.Generator().manual_seed(seed))[1]
    best = min(compressor.history_, key=lambda check: check["validation"])
    codes = torch.from_numpy(compressor.transform(X[held_out] * 20))
    with torch.no_grad():
        task = torch.nn.functional.cross_entropy(compressor.head_(codes), torch.from_numpy(Y[held_out]))
    assert task.item() == pytest.approx(best["task"], rel=1e-3)
    if method == "mlp":
        back = compressor.inverse_transform(codes.numpy()) / 20
        unit = (X - X.mean(axis=0)).var(axis=0, ddof=1).mean()
        assert ((back - X[held_out]) ** 2).mean() / unit == pytest.approx(best["reconstruction"], rel=1e-3)


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e10])
def test_ledoit_and_wolfs_shrinkage_does_not_know_units_and_leaves_constants_alone(scale):
    rows = np.concatenate([X, np.ones((120, 1))], axis=1)
    frame = loop.Frame(np.zeros(9), np.ones(9))
    members = np.eye(3)[Y]
    found = class_covariances(as_rows(rows * scale), frame, members, np.full(3, 1 / 3))
    total, _ = ledoit_wolf(StandardScaler().fit_transform(rows), assume_centered=True)
    deviation = np.append(X.std(axis=0), scale**-1)  # a constant is not scaled
    np.testing.assert_allclose(found[1] / scale**2, total * deviation * deviation[:, None], rtol=1e-6, atol=1e-9)
    within = [shrunk(as_rows(rows), frame, np.flatnonzero(column)) for column in members.T]
    np.testing.assert_allclose(found[0][:8, :8] / scale**2, np.mean(within, axis=0)[:8, :8], rtol=1e-6, atol=1e-9)
    assert np.isfinite(found[0]).all()
