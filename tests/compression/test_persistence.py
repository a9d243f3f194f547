"""Saved compressors come back the same, and damaged ones are refused."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from embcomp.compression import Compressor, Quantiser, diagnostics, persistence
from embcomp.compression.rows import as_rows
from embcomp.errors import ArtifactError, MissingDependencyError
from embcomp.storage.artifact import load_artifact, save_artifact

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 10)).astype(np.float32)
Y = np.array(["dog", "cat"])[RNG.integers(0, 2, 80)]
FITS = {
    "pca": {"method": "pca", "whiten": True},
    "share": {"method": "pca", "n_components": 0.5},
    "linear": {"epochs": 2, "class_weight": {"dog": 2.0}},
    "mlp": {"method": "mlp", "objective": "both", "nested": True, "epochs": 2, "hidden": 5},
}


@pytest.fixture(params=FITS)
def fitted(request):
    return Compressor(**{"n_components": 4, **FITS[request.param]}).fit(X, Y, ids=[f"{row}.wav" for row in range(80)])


@pytest.fixture
def saved(tmp_path):
    Compressor(4, "pca").fit(X).save(tmp_path / "compressor")
    return tmp_path / "compressor"


def test_round_trip(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    loaded = Compressor.load(tmp_path / "a")
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    codes = fitted.transform(X)
    np.testing.assert_array_equal(loaded.inverse_transform(codes), fitted.inverse_transform(codes))
    np.testing.assert_allclose(loaded.retained_variance_, fitted.retained_variance_)
    assert loaded.classes_ == fitted.classes_
    assert loaded.history_ == fitted.history_
    assert (loaded.head_ is None) == (fitted.head_ is None)
    assert loaded.seen(["3.wav", "80.wav"]) == ["3.wav"]
    loaded.save(tmp_path / "b")
    for name in ("weights.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_column_names_are_kept_and_checked_after_loading(tmp_path):
    frame = pd.DataFrame(X, columns=[f"feature {column}" for column in range(10)])
    Compressor(4, "pca").fit(frame).save(tmp_path / "a")
    loaded = Compressor.load(tmp_path / "a")
    assert loaded.feature_names_in_.tolist() == list(frame.columns)
    assert loaded.truncate(2).feature_names_in_.tolist() == list(frame.columns)
    loaded.transform(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.transform(frame.rename(columns={"feature 3": "another"}))
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.report(frame[frame.columns[::-1]])


def test_an_artifact_without_column_names_loads(saved):
    config = json.loads((saved / "config.json").read_text())
    assert config.pop("feature_names") is None
    (saved / "config.json").write_text(json.dumps(config))
    loaded = Compressor.load(saved)
    assert not hasattr(loaded, "feature_names_in_")
    loaded.transform(X)


def test_what_is_fitted_needs_no_estimator(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    params, read = persistence.load(tmp_path / "a")
    assert params == fitted.get_params()
    np.testing.assert_array_equal(read.transform(as_rows(X)), fitted.transform(X))
    assert str(diagnostics.report(read, as_rows(X), Y)) == str(fitted.report(X, Y))
    persistence.save(read, params, tmp_path / "b")
    assert (tmp_path / "a" / "config.json").read_bytes() == (tmp_path / "b" / "config.json").read_bytes()


def test_ids_are_kept_as_hashes_only(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    content = b"".join(path.read_bytes() for path in (tmp_path / "a").iterdir())
    assert b"3.wav" not in content
    assert Compressor(4, "pca").fit(X).seen(["3.wav"]) == []


def test_double_precision_modules_are_saved_as_they_are(tmp_path):
    compressor = Compressor(4, "pca").fit(X)
    expected = compressor.transform(X)
    module = compressor.to_module().double()
    torch.testing.assert_close(
        module(torch.from_numpy(X).double()).float(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5
    )
    compressor.save(tmp_path / "a")
    assert Compressor.load(tmp_path / "a").module_.weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
def test_a_damaged_folder_raises(saved, name, damage):
    path = saved / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"truncated": content[: len(content) // 2], "flipped": b"\xff" * 40 + content[40:], "empty": b""}[damage]
        )
    with pytest.raises(ArtifactError, match=r"missing|damaged|cannot read"):
        Compressor.load(saved)


def edit(path, **changes):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "Autoencoder"}, "holds a Autoencoder, not a Compressor"),
        ({"class": "Dictionary"}, "holds a Dictionary, not a Compressor"),
        ({"kind": "student"}, "holds a student, not a compressor"),
        ({"format": 99}, "has format 99"),
        ({"n_components": 3}, "does not map 10 to 3 dimensions"),
        ({"n_features_in": 11}, "does not map 11 to 4 dimensions"),
        ({"n_seen": 5}, "weights lack 'seen'"),
        ({"modules": {}}, "damaged or of another version"),
        ({"parameters": {"n_component": 4}}, "damaged or of another version"),
        ({"feature_names": [f"{number}" for number in range(11)]}, "11 feature names for 10 dimensions"),
        ({"modules": {"module": {"in_features": 10, "out_features": 4}}}, r"damaged .*\(modules \['module'\]\)"),
        (
            {
                "modules": {
                    "module": {"in_features": 10, "out_features": 4},
                    "decoder": {"in_features": 4, "out_features": 10},
                    "third": {"in_features": 1, "out_features": 1},
                }
            },
            r"damaged .*\(modules \['decoder', 'module', 'third'\]\)",
        ),
        ({"feature_names": ["a", "b"]}, "2 feature names for 10 dimensions"),
        ({"feature_names": 3}, "damaged or of another version"),
        (
            {
                "modules": {
                    "module": {"in_features": 10, "out_features": 4},
                    "decoder": {"in_features": 5, "out_features": 10},
                }
            },
            "has shape",
        ),
    ],
)
def test_a_config_that_contradicts_the_weights_raises(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(ArtifactError, match=message):
        Compressor.load(saved)


def test_a_classifier_that_is_no_linear_map_is_refused(tmp_path):
    Compressor(4, "mlp", "both", epochs=1, hidden=4).fit(X, Y).save(tmp_path / "c")
    config, tensors = load_artifact(tmp_path / "c", "compressor")
    config["modules"]["head"] = config["modules"]["module"]
    parts = {name.replace("module.", "head."): one for name, one in tensors.items() if name.startswith("module.")}
    kept = {name: one for name, one in tensors.items() if not name.startswith("head.")}
    save_artifact(tmp_path / "c", "compressor", config, kept | parts)
    with pytest.raises(ArtifactError, match="its classifier is no linear map; the artifact is damaged, make it again"):
        Compressor.load(tmp_path / "c")


def test_an_export_names_the_packages_that_it_needs_and_writes_one_file(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"exporting needs onnx: pip install -e '\.\[onnx\]'"):
        Compressor(4, "pca").fit(X).to_onnx(tmp_path / "compressor.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_and_a_quantiser_are_no_compressor(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        Compressor.load(tmp_path / "nothing")
    Quantiser().fit(X).save(tmp_path / "quantiser")
    with pytest.raises(ArtifactError, match="holds a quantiser, not a compressor"):
        Compressor.load(tmp_path / "quantiser")


def test_labels_that_json_cannot_hold_are_refused(tmp_path):
    labels = [(1, 2) if row % 2 else frozenset({3}) for row in range(80)]
    array = np.empty(80, dtype=object)
    array[:] = labels
    compressor = Compressor(2, epochs=1).fit(X, array)
    with pytest.raises(ArtifactError, match="JSON"):
        compressor.save(tmp_path / "a")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("method", ["pca", "mlp"])
def test_onnx_gives_the_same_codes_for_any_number_of_rows(tmp_path, method):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    compressor = Compressor(4, method, "reconstruction", epochs=2, hidden=5).fit(X)
    compressor.to_onnx(tmp_path / "compressor.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "compressor.onnx", providers=["CPUExecutionProvider"])
    assert [path.name for path in tmp_path.iterdir()] == ["compressor.onnx"]
    for rows in (1, 7, 80):
        (codes,) = session.run(["target"], {"embedding": X[:rows]})
        np.testing.assert_allclose(codes, compressor.transform(X[:rows]), atol=1e-5)
