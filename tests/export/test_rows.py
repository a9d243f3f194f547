"""Students of tables and images as ONNX files, and what `predict` makes of these."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from helpers.inputs import write_set

import embcomp
from embcomp.config import AudioConfig, read_choice
from embcomp.data.inputs import InputSpec
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError
from embcomp.export.info import ModelInfo
from embcomp.export.labelling import open_audio_labeller
from embcomp.export.parity import generated_rows
from embcomp.export.profile import profile
from embcomp.export.runtime import open_model
from embcomp.export.source import ExportOptions, open_source
from embcomp.export.writing import export_artifact
from embcomp.students.classifier import Classifier

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SPECS = {
    "table": InputSpec("table", (4, 1), ("d", "a", "b", "c")),
    "images": InputSpec("images", (1, 6, 5)),
}
FILES = {"table": "table.csv", "images": "images.npz"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set, and for each kind of input a student and its export, as ``KIND`` and ``KIND.onnx``."""
    folder = tmp_path_factory.mktemp("rows")
    write_set(folder / "set")
    for kind, spec in SPECS.items():
        settings = read_choice("student", {"kind": {"table": "mlp", "images": "cnn"}[kind], "width": 8})
        found = Classifier.new(["c0", "c1", "c2"], AudioConfig(), settings, kind == "images", 0, spec)
        rows = torch.randn(64, *spec.shape, generator=torch.Generator().manual_seed(0)) * 100 + 30
        found.network.norm.fit(rows)
        found.network.train()
        with torch.no_grad():
            for _ in range(10):
                found.network(rows, torch.full((64,), spec.shape[-1]))
            found.network.classify.weight.mul_(20)
        found.network.eval()
        found.save(folder / kind)
        export_artifact(folder / kind, folder / f"{kind}.onnx", "onnx", options=ExportOptions(embedding=True))
    return folder


@pytest.mark.parametrize("kind", SPECS)
def test_the_file_gives_what_the_student_gives_for_any_number_of_rows(folder, kind):
    source = open_source(folder / kind, ExportOptions(embedding=True))
    model = open_model(folder / f"{kind}.onnx")
    assert model.info.input == kind and model.info.shape == {"table": (4,), "images": (1, 6, 5)}[kind]
    assert model.info.columns == SPECS[kind].columns and model.info.multi_label == (kind == "images")
    for count in (1, 7, 70):
        rows = generated_rows(source, count)
        assert rows[0].shape == model.info.shape
        for expected, found in zip(source.reference(rows), model.outputs(rows), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    assert np.ptp(source.reference(rows)[0], axis=0).max() > 0.2  # it says different things of different rows


def test_the_other_input_norms(tmp_path):
    for norm, kind in (("image", "cnn"), ("none", "mlp")):
        spec = SPECS["images" if kind == "cnn" else "table"]
        settings = read_choice("student", {"kind": kind, "norm": norm, "width": 8})
        Classifier.new(["a", "b"], AudioConfig(), settings, False, 0, spec).save(tmp_path / kind)
        written = export_artifact(tmp_path / kind, tmp_path / f"{kind}.onnx", "onnx")
        assert written.parity.largest < 1e-5 and written.parity.audio == "generated rows"


@pytest.mark.parametrize("kind", SPECS)
def test_predict_labels_rows_by_their_ids_as_the_student_does(folder, kind):
    # The columns of the file are in another order than those of the student.
    expected, found = (
        embcomp.predict(folder / model, folder / "set" / FILES[kind], threshold=0.4 if kind == "images" else None)
        for model in (kind, f"{kind}.onnx")
    )
    assert found.table["path"].tolist() == expected.table["path"].tolist() and len(found) == 60
    assert found.labels == expected.labels and len(set(found.labels)) > 1
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


def test_parity_on_rows_with_labels(folder, tmp_path):
    manifest = Manifest.read(folder / "set/manifest.csv")
    inputs = folder / "set/table.csv"
    written = export_artifact(
        folder / "table", tmp_path / "s.onnx", "onnx", check=manifest, inputs=inputs, check_clips=30
    )
    assert written.parity.clips == written.parity.labelled == 30 and written.parity.agreement == 1
    assert written.parity.metric == "balanced_accuracy" and written.parity.before == written.parity.after
    assert written.parity.audio == "set, 30 of its 60 rows"
    for change, message in [
        ({"check": manifest}, "give the file that holds them: --inputs FILE"),
        ({"inputs": inputs}, "--inputs holds the rows of --check"),
        ({"check": manifest, "inputs": folder / "set/emb.npy"}, "no column 'd'"),
        ({"int8": True, "calibrate": manifest}, "--int8 is for students that take audio"),
        ({"to": "c", "out": tmp_path / "s.c"}, "--to c is for students that take audio; use --to onnx"),
        ({"options": ExportOptions("logmel")}, "takes tables; leave --input and --samples out"),
    ]:
        given = {"artifact": folder / "table", "out": tmp_path / "t.onnx", "to": "onnx", **change}
        with pytest.raises(embcomp.errors.EmbcompError, match=message):
            export_artifact(**given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.onnx", "s.onnx.json"]


def test_what_is_for_audio_refuses_them(folder, tmp_path):
    with pytest.raises(ConfigError, match="takes images, not audio"):
        open_audio_labeller(folder / "images.onnx")
    with pytest.raises(ConfigError, match="--window is for students that take audio"):
        embcomp.predict(folder / "table.onnx", folder / "set/table.csv", window=1.0)
    for path in (folder / "table.onnx", folder / "table"):
        with pytest.raises(ArtifactError, match="takes tables|takes students that take audio|takes table"):
            profile([path])
    with open(tmp_path / "few.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "a", "b"], ["x", 1, 2]])
    with pytest.raises(embcomp.errors.EmbcompError, match="no column 'd'"):
        embcomp.predict(folder / "table.onnx", tmp_path / "few.csv")


@pytest.mark.parametrize(
    "change", [{"shape": []}, {"shape": [3]}, {"shape": [0]}, {"shape": ["4"]}, {"columns": ["a"]}, {"input": "images"}]
)
def test_damaged_metadata_are_refused(folder, change):
    content = open_model(folder / "table.onnx").info.to_dict()
    assert ModelInfo.from_dict(content, "x").shape == (4,)
    with pytest.raises(ArtifactError, match="metadata are damaged"):
        ModelInfo.from_dict(content | change, "x")
