"""8-bit networks: what equalising must keep, and what stays in float."""

from __future__ import annotations

import numpy as np
import pytest
from export.test_onnx import session, student, waves

from embcomp.data.manifest import Manifest
from embcomp.export import int8, onnx_int8
from embcomp.export.equalise import channel_ranges, equalise
from embcomp.export.equalised_network import equalised_network
from embcomp.export.onnx_body import body_graph
from embcomp.export.runtime import open_model
from embcomp.export.source import ExportOptions, StudentSource
from embcomp.export.writing import export_artifact
from embcomp.students import STUDENTS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def graph_and_inputs(kind="ds_cnn", embedding=False, width=16):
    source = StudentSource(student(kind, width=width), ExportOptions("logmel", embedding=embedding))
    return source, body_graph(source), [source.features(wave) for wave in waves(6)]


@pytest.fixture(scope="module", params=[one.name for one in STUDENTS if "audio" in one.takes])
def exported(request):
    """A student of each kind: to trace a large one takes seconds."""
    return graph_and_inputs(request.param, embedding=True)


def test_equalising_keeps_what_is_computed(exported):
    _, body, inputs = exported
    before, after = session(body), session(equalise(body, inputs))
    for row in inputs:
        for expected, found in zip(before.run(None, {"logmel": row}), after.run(None, {"logmel": row})):
            np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max(), rtol=1e-3)


def test_equalised_weights_return_to_the_network(exported):
    source, graph, inputs = exported
    before = {name: tensor.clone() for name, tensor in source.masked_body.state_dict().items()}
    body = equalised_network(source, inputs, graph)
    changed = [name for name, tensor in body.state_dict().items() if not tensor.equal(before[name])]
    assert sum(name.endswith("weight") for name in changed) > 5
    assert all(tensor.equal(before[name]) for name, tensor in source.masked_body.state_dict().items())


def test_equalising_evens_out_the_ranges_that_depthwise_convolutions_read():
    _, body, inputs = graph_and_inputs()
    group = {node.input[0]: item.i for node in body.graph.node for item in node.attribute if item.name == "group"}
    depthwise = [name for name, count in group.items() if count > 1]
    assert len(depthwise) == 6

    def spread(model):
        ranges = channel_ranges(model, inputs)
        alive = {name: values[values > 1e-2 * values.max()] for name, values in ranges.items() if name in depthwise}
        return np.mean([np.log(values.max() / values).mean() for values in alive.values()])

    assert spread(equalise(body, inputs)) < 0.7 * spread(body)


def test_a_network_in_8_bits_is_close_to_itself():
    source, body, inputs = graph_and_inputs(width=64)
    found = onnx_int8.quantise(body, inputs, inputs, source.decide)
    operations = [node.op_type for node in found.model.graph.node]
    assert operations.count("QuantizeLinear") > 10 and len(found.floats) >= 2
    assert found.model.ByteSize() < 0.5 * body.ByteSize()
    kinds = {value.name: value.data_type for value in found.model.graph.initializer}
    assert sum(kind == 3 for name, kind in kinds.items() if "weight" in name) >= 10  # int8
    for row in inputs:
        expected = session(body).run(None, {"logmel": row})[0]
        np.testing.assert_allclose(session(found.model).run(None, {"logmel": row})[0], expected, atol=0.1)


def test_layers_return_to_float_while_classes_change_but_never_most_of_them(monkeypatch):
    source, body, inputs = graph_and_inputs()
    monkeypatch.setattr(int8, "AGREEMENT", 2.0)  # no validation is good enough
    tried = []
    static = onnx_int8._static
    monkeypatch.setattr(
        onnx_int8, "_static", lambda model, rows, names: tried.append(list(names)) or static(model, rows, names)
    )
    before = body.SerializeToString(deterministic=True)
    onnx_int8.quantise(body, inputs[:2], inputs, source.decide)
    layers = [node.name for node in body.graph.node if node.op_type in ("Conv", "Gemm")]
    assert [len(names) for names in tried] == [2] + [3] * (len(layers) - 2) + list(range(3, len(layers) // 2 + 1))
    assert all(names[:2] == [layers[0], layers[-1]] for names in tried)
    assert body.SerializeToString(deterministic=True) == before


def test_the_layer_that_does_the_harm_is_the_first_to_return(monkeypatch):
    source, body, inputs = graph_and_inputs()
    layers = [node.name for node in body.graph.node if node.op_type in ("Conv", "Gemm")]
    bad = layers[4]
    static = onnx_int8._static

    def broken(model, rows, names):
        """8 bits, of which one layer has gone wrong."""
        copy = type(model).FromString(model.SerializeToString())
        if bad not in names:
            weight = next(node.input[1] for node in copy.graph.node if node.name == bad)
            tensor = next(one for one in copy.graph.initializer if one.name == weight)
            tensor.raw_data = (-20 * np.frombuffer(tensor.raw_data, np.float32)).tobytes()
        return static(copy, rows, names)

    monkeypatch.setattr(onnx_int8, "_static", broken)
    found = onnx_int8.quantise(body, inputs, inputs, lambda outputs: np.round(outputs, 1))
    assert found.floats[2] == bad


def test_exported_in_8_bits(trained, tmp_path):
    tones = Manifest.read(trained / "tones/manifest.csv")
    for in_8_bits in (False, True):
        calibrate = tones if in_8_bits else None
        out = tmp_path / f"{in_8_bits}.onnx"
        written = export_artifact(
            trained / "student", out, "onnx", int8=in_8_bits, calibrate=calibrate, calibration_clips=12
        )
        assert open_model(written.path).info == written.info
    assert written.info.precision == "int8" and len(written.info.float_layers) >= 2
    assert written.parity.clips == 24 and written.parity.agreement >= 0.95 and written.parity.largest < 0.1
