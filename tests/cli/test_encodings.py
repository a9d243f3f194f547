"""Names that standard output cannot encode are escaped; no work is lost to them."""

from __future__ import annotations

import csv
import io
import json
import signal
import sys

import numpy as np
import pytest
import soundfile
from helpers.settings import student_settings

from embcomp.cli import main
from embcomp.config import AudioConfig
from embcomp.students.classifier import Classifier

CLASSES = ["犬", "鳥"]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    soundfile.write(folder / "звук.wav", 0.1 * np.random.default_rng(0).normal(size=8000), 16_000)
    audio = AudioConfig(seconds=0.5, n_mels=24)
    Classifier.new(CLASSES, audio, student_settings(width=16), False, 0).save(folder / "student")
    return folder


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp932", "utf-8"])
@pytest.mark.parametrize("form", ["table", "csv", "json", "raven", "audacity"])
def test_predictions_are_printed_in_every_encoding(named, monkeypatch, encoding, form):
    content = io.BytesIO()
    call = ["embcomp", "predict", str(named / "student"), str(named / "звук.wav"), "--format", form]
    monkeypatch.setattr(sys, "argv", call)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding=encoding))
    before = signal.getsignal(signal.SIGTERM)
    try:
        main()
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.stdout.flush()
    text = content.getvalue().decode(encoding)
    if form == "json":
        (row,) = json.loads(text)
        assert row["label"] in CLASSES
    else:
        shown = (
            CLASSES if encoding in ("utf-8", "cp932") else [name.encode("unicode_escape").decode() for name in CLASSES]
        )
        assert any(name in text for name in shown)
    if form == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) == 1
