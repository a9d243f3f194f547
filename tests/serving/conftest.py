"""A student exported to ONNX, for what serves one."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.settings import student_settings

from embcomp.config import AudioConfig
from embcomp.students.classifier import Classifier

CLASSES = ["dog <b>", "cré&me", *map("class {}".format, range(6))]


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The file; not to be changed."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from embcomp.export.writing import export_artifact

    folder = tmp_path_factory.mktemp("model")
    found = Classifier.new(CLASSES, AudioConfig(seconds=1.0, n_mels=24), student_settings(width=16), False, 0)
    found.network.classify.weight.data.mul_(40)  # untrained, it would say the same of all sounds
    found.network.eval()
    found.save(folder / "student")
    export_artifact(folder / "student", folder / "student.onnx", "onnx")
    return folder / "student.onnx"
