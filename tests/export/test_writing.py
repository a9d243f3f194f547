"""Exporting as a whole: names, what is refused, and the command."""

from __future__ import annotations

import json
import sys

import pytest
from helpers.command import call

from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, MissingDependencyError
from embcomp.export.parity import Limits
from embcomp.export.runtime import open_model
from embcomp.export.source import ExportOptions
from embcomp.export.writing import export_artifact

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture
def tones(trained):
    return Manifest.read(trained / "tones/manifest.csv")


def test_a_file_that_agrees_gets_its_name_and_a_report(trained, tones, tmp_path):
    out = tmp_path / "new/student.onnx"
    written = export_artifact(trained / "student", out, "onnx", check=tones)
    assert written.path == out and written.parity.agreement == 1 and written.parity.largest < 1e-4
    report = json.loads((tmp_path / "new/student.onnx.json").read_text())
    assert report["parity"]["before"] == report["parity"]["after"] == written.parity.before
    assert report["parity"]["bytes"] == out.stat().st_size and report["model"]["labels"] == ["high", "low", "mid"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["student.onnx", "student.onnx.json"]
    export_artifact(trained / "student", out, "onnx")  # its own file is replaced
    assert json.loads((tmp_path / "new/student.onnx.json").read_text())["parity"]["audio"].startswith("generated")


def test_a_file_that_loses_too_much_is_kept_under_another_name(trained, tones, tmp_path, monkeypatch):
    from embcomp.export import onnx

    def damaged(source):
        graph = whole(source)
        for tensor in graph.graph.initializer:
            if tensor.name.endswith("classify.weight"):
                tensor.raw_data = bytes(len(tensor.raw_data))
        return graph

    whole = onnx.body_graph
    monkeypatch.setattr(onnx, "body_graph", damaged)
    written = export_artifact(trained / "student", tmp_path / "student.onnx", "onnx", check=tones)
    assert written.path.name == "student.lossy.onnx" and len(written.parity.failures) == 2
    assert not (tmp_path / "student.onnx").exists() and open_model(written.path).info == written.info
    assert json.loads((tmp_path / "student.lossy.onnx.json").read_text())["parity"]["failures"]


@pytest.mark.parametrize("kind", ["teacher", "compressor"])
def test_teachers_and_compressors_go_the_same_way(trained, tmp_path, kind):
    written = export_artifact(trained / kind, tmp_path / "model.onnx", "onnx")
    assert written.parity.cosine > 0.99999 and written.parity.agreement is None and not written.parity.failures


def test_what_embcomp_did_not_export_is_not_replaced(trained, tmp_path):
    for name, content in (("a.onnx", "not ours"), ("b.onnx.json", "{}")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ArtifactError, match="choose another --out"):
            export_artifact(trained / "student", tmp_path / f"{name[0]}.onnx", "onnx")
        assert (tmp_path / name).read_text() == content
    assert len(list(tmp_path.iterdir())) == 2


def test_misuse_is_refused_before_anything_is_written(trained, tones, tmp_path):
    out = tmp_path / "student.onnx"
    cases = [
        ({"to": "onx"}, ConfigError, "did you mean 'onnx'"),
        ({"out": tmp_path / "student.tflite"}, ConfigError, "name it student.onnx"),
        ({"int8": True}, ConfigError, "give --calibrate"),
        ({"calibrate": tones}, ConfigError, "--calibrate is for --int8"),
        ({"artifact": tmp_path}, ArtifactError, "the folder has no config.json"),
        ({"artifact": tmp_path / "none"}, ArtifactError, "the folder does not exist"),
        ({"artifact": trained / "teacher", "options": ExportOptions(embedding=True)}, ConfigError, "of a student"),
        ({"artifact": trained / "compressor", "check": tones}, ConfigError, "takes no audio"),
        ({"artifact": trained / "compressor", "options": ExportOptions("logmel")}, ConfigError, "takes embeddings"),
        ({"artifact": trained / "teacher", "int8": True, "calibrate": tones}, ConfigError, "--int8 is of students"),
    ]
    for change, kind, message in cases:
        arguments = {"artifact": trained / "student", "out": out, "to": "onnx", **change}
        with pytest.raises(kind, match=message):
            export_artifact(**arguments)
    for options, message in [
        ({"input": "waves"}, "unknown input"),
        ({"samples": "int8"}, "unknown kind of samples"),
        ({"input": "logmel", "samples": "int16"}, "need --input waveform"),
        ({"threshold": 1.0}, "between 0 and 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            ExportOptions(**options)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_install_command(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"needs onnxscript: pip install -e '.\[onnx\]'"):
        export_artifact(trained / "student", tmp_path / "student.onnx", "onnx")


def test_damaged_and_foreign_files_are_refused(trained, tmp_path):
    import onnx

    export_artifact(trained / "student", tmp_path / "student.onnx", "onnx")
    content = (tmp_path / "student.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.onnx").write_text("hello")
    model = onnx.load(tmp_path / "student.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    properties = {"embcomp_format": "1", "kind": '"classifier"', "input": '"waveform"', "outputs": '["probabilities"]'}
    onnx.helper.set_model_props(model, {**properties, "labels": "[1, 2]"})
    onnx.save(model, tmp_path / "odd.onnx")
    onnx.helper.set_model_props(model, {**properties, "labels": "["})
    onnx.save(model, tmp_path / "broken.onnx")
    onnx.helper.set_model_props(model, {**properties, "embcomp_format": "9"})
    onnx.save(model, tmp_path / "new.onnx")
    for name, message in [
        ("cut", "not readable as ONNX"),
        ("text", "not readable as ONNX"),
        ("none", "cannot read"),
        ("foreign", "not written by embcomp export"),
        ("odd", "metadata are damaged"),
        ("broken", "metadata are damaged"),
        ("new", "has format 9"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            open_model(tmp_path / f"{name}.onnx")
    with pytest.raises(ArtifactError, match="no exported model"):
        open_model(trained / "student")


def test_limits_of_the_command_and_its_exit_code(trained, tmp_path):
    arguments = ["export", trained / "student", "--to", "onnx", "--check", trained / "tones/manifest.csv"]
    done = call(*arguments, "--out", tmp_path / "student.onnx", "--split", "test")
    assert done.returncode == 0, done.stderr
    assert "same class: 100.00%" in done.stdout and "24 clips (tones, 24 of them trained on)" in done.stdout
    done = call(*arguments, "--out", tmp_path / "student.onnx", "--min-agreement", "2")
    assert done.returncode == 2 and "--min-agreement must lie in [0, 1]" in done.stderr


def test_the_command_exits_with_4_where_the_model_is_not_the_same(trained, tmp_path, monkeypatch, capsys):
    from dataclasses import replace

    from embcomp.cli.export import export
    from embcomp.export import writing

    measure = writing.measure
    monkeypatch.setattr(writing, "measure", lambda *args: replace(measure(*args), failures=("it lost",)))
    with pytest.raises(SystemExit) as end:
        export.main(
            [str(trained / "student"), "--to", "onnx", "--out", str(tmp_path / "s.onnx")], standalone_mode=False
        )
    assert end.value.code == 4 and (tmp_path / "s.lossy.onnx").exists()
    assert "it lost" in capsys.readouterr().err
    assert Limits() == Limits(0.99, 0.005, 0.999)
