"""ONNX files against the artifacts they were made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embcomp.audio.logmel import LogMel
from embcomp.compression import Compressor
from embcomp.config import AudioConfig, read_choice
from embcomp.export.info import ModelInfo
from embcomp.export.onnx import OnnxFormat
from embcomp.export.runtime import open_model
from embcomp.export.source import CompressorSource, ExportOptions, StudentSource, open_source
from embcomp.students import STUDENTS, InputNorm
from embcomp.students.classifier import Classifier

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

FRONT_ENDS = {
    "module defaults": {},
    "config defaults": {"win_length": 512, "hop_length": 320},
    "44.1 kHz, band limited": {"sample_rate": 44_100, "n_fft": 2048, "win_length": 1024, "hop_length": 441, "n_mels": 96, "fmin": 50.0, "fmax": 14_000.0},
    "8 kHz, odd sizes": {"sample_rate": 8000, "n_fft": 501, "win_length": 333, "hop_length": 77, "n_mels": 20, "fmin": 20.0},
}  # fmt: skip
LENGTHS = (1, 76, 400, 5000, 9001)


def waves(count=3, samples=5000, seed=0):
    rng = np.random.default_rng(seed)
    levels = np.geomspace(1e-4, 0.5, count)[:, None]
    return (levels * np.sin(0.1 * np.arange(samples)) + levels * rng.normal(0, 0.3, (count, samples))).astype(
        np.float32
    )


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("settings", FRONT_ENDS.values(), ids=FRONT_ENDS)
def test_the_front_end_in_single_precision_is_the_log_mel(settings):
    from embcomp.export.onnx_frontend import logmel_graph

    logmel = LogMel(**settings)
    graphs = {kind: session(logmel_graph(logmel, kind, 18, 10)) for kind in ("float32", "int16")}
    for samples in LENGTHS:
        batch = waves(samples=samples)
        expected = logmel(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(graphs["float32"].run(None, {"waveform": batch})[0], expected, atol=1e-4)
        whole = np.round(batch * 32768).astype(np.int16)
        expected = logmel(torch.from_numpy(whole.astype(np.float32) / 32768)).numpy()
        np.testing.assert_allclose(graphs["int16"].run(None, {"waveform": whole})[0], expected, atol=1e-4)


def test_the_front_end_is_small_in_the_file():
    from embcomp.export.onnx_frontend import logmel_graph

    logmel = LogMel()
    size = len(logmel_graph(logmel, "float32", 18, 10).SerializeToString())
    assert size < 25_000 < logmel.filters.numel() * 4


def student(kind="ds_cnn", multi_label=False, norm="clip", n_mels=33, width=16):
    """A student whose batch norms have seen something."""
    options = {"kind": kind, "norm": norm} | ({"width": width} if kind == "ds_cnn" else {})
    audio = AudioConfig(seconds=0.5, n_mels=n_mels)
    found = Classifier.new(["a", "b", "c"], audio, read_choice("student", options), multi_label, 0)
    features = torch.randn(4, n_mels, 26, generator=torch.Generator().manual_seed(0)) - 5
    found.network.norm.fit(features, torch.full((4,), 26))
    found.network.train()
    with torch.no_grad():
        for _ in range(20):
            found.network(features, torch.full((4,), 26))
    found.network.eval()
    return found


CASES = [
    *((one.name, "clip", False) for one in STUDENTS if "audio" in one.takes),
    *(("ds_cnn", norm, True) for norm in InputNorm.KINDS if norm not in ("none", "clip")),
]


@pytest.mark.parametrize(("kind", "norm", "multi_label"), CASES)
def test_students_of_any_kind_for_any_batch_and_length(tmp_path, kind, norm, multi_label):
    source = StudentSource(student(kind, multi_label, norm), ExportOptions(embedding=True))
    OnnxFormat().write(source, tmp_path / "student.onnx")
    model = open_model(tmp_path / "student.onnx")
    for samples in LENGTHS:
        batch = waves(samples=samples)
        for expected, found in zip(source.reference(list(batch)), model.run(batch), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3)
    sums = model.run(batch)[0].sum(1)
    assert multi_label or np.allclose(sums, 1, atol=1e-5)
    nodes = {node.op_type for node in onnx.load(tmp_path / "student.onnx").graph.node}
    assert "BatchNormalization" not in nodes  # folded into the convolutions


def test_clips_of_different_lengths_keep_their_order(tmp_path):
    source = StudentSource(student(), ExportOptions())
    OnnxFormat().write(source, tmp_path / "student.onnx")
    rows = [wave[: 500 * (1 + number % 3)] for number, wave in enumerate(waves(7, 1500))]
    np.testing.assert_allclose(
        open_model(tmp_path / "student.onnx").probabilities(rows), source.reference(rows)[0], atol=1e-5
    )


def test_16_bit_samples_and_log_mels(tmp_path):
    classifier, rows = student(), list(waves())
    whole = StudentSource(classifier, ExportOptions(samples="int16"))
    OnnxFormat().write(whole, tmp_path / "int16.onnx")
    rounded = [np.round(row * 32768).astype(np.float32) / 32768 for row in rows]
    model = open_model(tmp_path / "int16.onnx")
    assert model.session.get_inputs()[0].type == "tensor(int16)"
    np.testing.assert_allclose(model.probabilities(rounded), whole.reference(rounded)[0], atol=1e-5)
    assert np.isfinite(model.probabilities([np.array([-1.5, 1.5], dtype=np.float32)])).all()  # clipped, not wrapped
    features = StudentSource(classifier, ExportOptions(input="logmel"))
    OnnxFormat().write(features, tmp_path / "logmel.onnx")
    logmels = [features.front(torch.from_numpy(row)).numpy() for row in rows]
    found = open_model(tmp_path / "logmel.onnx").outputs(logmels)[0]
    np.testing.assert_allclose(found, features.reference(rows)[0], atol=1e-5)


def test_the_teacher_for_clips_longer_and_shorter_than_a_patch(trained, tmp_path):
    source = open_source(trained / "teacher")
    OnnxFormat().write(source, tmp_path / "teacher.onnx")
    model, hop = open_model(tmp_path / "teacher.onnx"), 160
    for frames in (1, 5, 11, 12, 13, 30):
        batch = waves(samples=frames * hop - 1)
        np.testing.assert_allclose(model.run(batch)[0], source.reference(list(batch))[0], atol=2e-5)


@pytest.mark.parametrize("options", [{"method": "pca"}, {"method": "mlp", "objective": "reconstruction", "epochs": 2}])
def test_compressors(tmp_path, rng, options):
    rows = rng.normal(3, 1, size=(60, 12)).astype(np.float32)
    compressor = Compressor(4, **options).fit(rows)
    OnnxFormat().write(CompressorSource(compressor, ExportOptions()), tmp_path / "compressor.onnx")
    model = open_model(tmp_path / "compressor.onnx")
    for count in (1, 60):
        np.testing.assert_allclose(model.run(rows[:count])[0], compressor.transform(rows[:count]), atol=1e-5)
    assert model.info.width == 4 and model.info.input == "embedding"


def test_the_file_says_what_it_is(trained, tmp_path):
    source = open_source(trained / "student", ExportOptions(threshold=0.3))
    written = OnnxFormat().write(source, tmp_path / "student.onnx")
    properties = {item.key: item.value for item in onnx.load(tmp_path / "student.onnx").metadata_props}
    assert properties["labels"] == '["high", "low", "mid"]' and properties["threshold"] == "0.3"
    assert properties["sample_rate"] == "16000" and properties["window"] == "0.4"
    assert open_model(tmp_path / "student.onnx").info == written == ModelInfo.from_properties(properties, "")
    assert {"embcomp", "torch", "onnx", "onnxruntime"} <= set(written.versions)
    assert written.about["train_dataset"] == "tones"


def test_the_file_names_nothing_of_this_machine_and_is_the_same_each_time(trained, tmp_path):
    for name in ("first.onnx", "again.onnx"):
        OnnxFormat().write(open_source(trained / "student"), tmp_path / name)
    content = (tmp_path / "first.onnx").read_bytes()
    assert content == (tmp_path / "again.onnx").read_bytes()
    for part in (b".py", b"site-packages", str(trained).encode(), b"stack_trace"):
        assert part not in content
    model = onnx.load(tmp_path / "first.onnx")
    assert {item.domain for item in model.opset_import} == {""} and not model.functions
    assert len(content) < 4 * open_source(trained / "student").info.parameters + 40_000
