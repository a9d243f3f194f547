"""Stores, several teachers, mini-batches, fast solvers and diagnostics."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from embcomp.compression import Compressor, Concatenation
from embcomp.compression.batches import minibatches
from embcomp.compression.cells import group_codes
from embcomp.compression.rows import as_rows
from embcomp.errors import DataError, EmbcompWarning

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(120, 12)) @ RNG.normal(size=(12, 12)) + 2).astype(np.float32)
Y = (X[:, 0] > np.median(X[:, 0])).astype(int)


class Store:
    """What a store looks like to a compressor."""

    def __init__(self, data, ids):
        self.data, self.ids = data, ids


def test_a_store_brings_its_ids(tmp_path):
    np.save(tmp_path / "data.npy", X.astype(np.float16))
    store = Store(np.load(tmp_path / "data.npy", mmap_mode="r"), [f"{row}.wav" for row in range(120)])
    compressor = Compressor(3, "pca").fit(store)
    assert compressor.seen(["5.wav", "elsewhere.wav"]) == ["5.wav"]
    np.testing.assert_allclose(compressor.transform(store), compressor.transform(X.astype(np.float16)), atol=1e-5)


def test_teachers_get_equal_shares_whatever_their_units():
    small, large = X[:, :5] * 1e-3, X[:, 5:] * 1e3
    codes = Compressor(4, "pca").fit_transform(Concatenation([small, large]))
    again = Compressor(4, "pca").fit_transform(Concatenation([small * 50, large]))
    np.testing.assert_allclose(codes, again, atol=1e-4)
    blocks = [part.astype(float) - part.mean(axis=0) for part in (small, large)]
    expected = np.concatenate([block / np.sqrt(block.var(axis=0, ddof=1).sum()) for block in blocks], axis=1)
    theirs = PCA(4).fit_transform(expected)
    np.testing.assert_allclose(codes * np.sign((codes * theirs).sum(axis=0)), theirs, atol=1e-4)


def test_a_heavier_teacher_takes_more_of_the_target():
    first, second = X[:, :6], RNG.normal(size=(120, 6)).astype(np.float32)

    def kept_of_first(weights):
        both = Concatenation([first, second], weights)
        compressor = Compressor(3, "pca").fit(both)
        back = compressor.inverse_transform(compressor.transform(both))[:, :6]
        return 1 - ((back - first) ** 2).sum() / ((first - first.mean(axis=0)) ** 2).sum()

    assert kept_of_first((9, 1)) > kept_of_first((1, 1)) > kept_of_first((1, 9))


def test_one_target_from_many_teachers_learns_a_task_and_takes_plain_rows():
    teachers = Concatenation([Store(X[:, :5].astype(np.float16), list("ab" * 60)), X[:, 5:]])
    assert teachers.ids == list("ab" * 60)
    compressor = Compressor(2, "linear", "task", epochs=3).fit(teachers, Y)
    wide = np.concatenate([X[:, :5].astype(np.float16).astype(np.float32), X[:, 5:]], axis=1)
    np.testing.assert_allclose(compressor.transform(teachers), compressor.transform(wide), atol=1e-5)


def test_teachers_of_other_clips_are_refused():
    with pytest.raises(DataError, match="different ids"):
        Concatenation([Store(X, [str(row) for row in range(120)]), Store(X, [str(row) for row in range(1, 121)])])


@pytest.mark.parametrize("kind", ["float32", "float16", "memmap", "bfloat16", "teachers"])
def test_minibatches_cover_every_row_once_through_one_buffer(tmp_path, kind):
    np.save(tmp_path / "data.npy", X)
    source = {
        "float32": X,
        "float16": X.astype(np.float16),
        "memmap": np.load(tmp_path / "data.npy", mmap_mode="r"),
        "bfloat16": torch.from_numpy(X).bfloat16(),
        "teachers": Concatenation([X[:, :4], X[:, 4:].astype(np.float16)]),
    }[kind]
    expected, seen, places = as_rows(source)[:], [], set()
    for index, batch in minibatches(source, 50, torch.Generator().manual_seed(1)):
        assert batch.dtype == torch.float32
        np.testing.assert_array_equal(batch.numpy(), expected[index])
        seen += index.tolist()
        places.add(batch.data_ptr())
    assert sorted(seen) == list(range(120))
    assert seen != list(range(120))
    assert len(places) == 1
    again = [index.tolist() for index, _ in minibatches(source, 50, torch.Generator().manual_seed(1))]
    assert sum(again, []) == seen


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    low = rng.normal(size=(40_000, 40)).astype(np.float32) * np.arange(1, 41) ** -0.7
    return (low @ rng.normal(size=(40, 64)) + 0.05 * rng.normal(size=(40_000, 64)) + 1).astype(np.float32)


@pytest.mark.parametrize(("solver", "captured"), [("subspace", 0.9999), ("sample", 0.9995)])
def test_fast_solvers_capture_the_variance(many, solver, captured):
    covariance = np.cov(many.T)

    def variance(options):
        basis, _ = np.linalg.qr(Compressor(8, "pca", **options).fit(many).module_.weight.detach().double().numpy().T)
        return np.trace(basis.T @ covariance @ basis)

    assert variance({"solver": solver}) >= captured * variance({})


def test_the_subspace_solver_reports_exact_totals(many):
    exact, fast = (Compressor(8, "pca", solver=solver).fit(many) for solver in ("exact", "subspace"))
    np.testing.assert_allclose(fast.retained_variance_, exact.retained_variance_, atol=2e-4)
    np.testing.assert_allclose(fast.component_variance_, exact.component_variance_, rtol=1e-3)
    np.testing.assert_allclose(fast.decoders_.mean, exact.decoders_.mean, atol=1e-5)


def test_fast_solvers_are_exact_when_they_see_everything():
    exact = Compressor(4, "pca").fit_transform(X)
    for solver in ("sample", "subspace"):
        np.testing.assert_allclose(Compressor(4, "pca", solver=solver).fit_transform(X), exact, atol=1e-3)


def test_the_sample_solver_serves_lda(many):
    y = (many[:, 0] > 1) + 2 * (many[:, 1] > 1)
    exact, fast = (Compressor(3, "lda", solver=solver).fit(many, y).transform(many) for solver in ("exact", "sample"))
    for k in range(3):
        assert abs(np.corrcoef(exact[:, k], fast[:, k])[0, 1]) > 0.99


def test_report_says_what_was_kept_and_lost():
    spoiled = X.copy()
    spoiled[7] += 40 * np.linalg.svd(X - X.mean(axis=0))[2][-1]
    compressor = Compressor(5, "pca").fit(X)
    report = compressor.report(Store(spoiled, [f"{row}.wav" for row in range(120)]), Y)
    assert report.least[0][0] == "7.wav"
    assert report.retained.shape == (120,)
    assert report.most[0][1] >= report.most[-1][1] >= report.least[-1][1] >= report.least[0][1]
    on_fitted = compressor.report(X, Y)
    assert on_fitted.retained_variance == pytest.approx(compressor.retained_variance_[-1], abs=1e-5)
    np.testing.assert_allclose(on_fitted.component_variance, compressor.component_variance_, rtol=1e-4)
    assert "12 -> 5 dimensions over 120 rows" in str(on_fitted)
    assert "between classes" in str(on_fitted)


def test_report_shows_lda_separating_classes():
    report = Compressor(1, "lda").fit(X, Y).report(X, Y)
    assert report.separation_after > 1.5 * report.separation_before
    assert Compressor(1, "pca").fit(X).report(X).separation_after is None


def test_the_package_imports_with_torch_numpy_and_scikit_learn_alone():
    program = """
import importlib.machinery, sys
ABSENT = "pandas click librosa torchaudio matplotlib tqdm soundfile soxr safetensors onnx onnxruntime".split()
finder = importlib.machinery.PathFinder
found = finder.find_spec
# Not as None in sys.modules, which scikit-learn 1.6 takes for a module.
finder.find_spec = staticmethod(lambda name, *rest: None if name.partition(".")[0] in ABSENT else found(name, *rest))
import numpy as np
from embcomp.compression import Compressor
X = np.random.default_rng(0).normal(size=(50, 6))
assert Compressor(2, epochs=1).fit(X, X[:, 0] > 0).transform(X).shape == (50, 2)
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("embcomp.")}
assert loaded == {"errors", "losses", "learning", "compression", "card", "storage"}, loaded
stored = {name for name in sys.modules if name.startswith("embcomp.storage.")}
assert stored == {"embcomp.storage.seen", "embcomp.storage.content"}, stored
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("text", ["", "nan", "None", "<NA>", "NaT"])
def test_texts_of_missing_values_are_no_class_and_no_group_in_silence(text):
    X = np.random.default_rng(0).normal(size=(30, 4))
    y = np.array(["a", "b", text] * 10)
    with pytest.warns(EmbcompWarning, match=f"rows 2, 5, 8, .* {text!r} is taken as a label; give None"):
        assert text in Compressor(2, "lda").fit(X, y).classes_
    with pytest.warns(EmbcompWarning, match=f"{text!r} is taken as a group"):
        group_codes(y, 30)


def test_what_is_summed_of_too_few_rows_is_said():
    compressor = Compressor(6, "pca").partial_fit(np.eye(8)[:4])
    with pytest.raises(NotFittedError, match="4 rows were added so far, too few for n_components=6"):
        compressor.transform(np.eye(8))
