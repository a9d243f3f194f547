"""What every format that takes one row of fixed length must do, against the students it was made from."""

from __future__ import annotations

import numpy as np
import pytest
from export.test_onnx import student, waves

from embcomp.errors import DataError
from embcomp.export.runtime import notes_of, open_model
from embcomp.export.source import ExportOptions, StudentSource
from embcomp.storage.files import write_json


def write(source, path, form):
    """Write a source by a format, and open it."""
    info = form.write(source, path)
    write_json(notes_of(path), {"model": info.to_dict()})
    return open_model(path)


def check_lengths(form, folder, kind):
    """Clips of any length up to the window give what the student gives; longer ones are refused."""
    source = StudentSource(student(kind), ExportOptions(embedding=True))
    model = write(source, folder / f"student{form.suffix}", form)
    for samples in (1, 4999, 8000):
        batch = waves(samples=samples)
        for expected, found in zip(source.reference(list(batch)), model.run(batch), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    with pytest.raises(DataError, match="takes at most 8000 values a row, not 8001"):
        model.run(waves(samples=8001))


def check_inputs(form, folder):
    """16-bit samples and log-mels give what waveforms give."""
    rows = [np.round(row * 32768).astype(np.float32) / 32768 for row in waves()]
    for options in (ExportOptions(samples="int16"), ExportOptions(input="logmel")):
        source = StudentSource(student(multi_label=True), options)
        given = rows if options.input == "waveform" else [source.features(row)[0] for row in rows]
        found = write(source, folder / f"student{form.suffix}", form).outputs(given)[0]
        np.testing.assert_allclose(found, source.reference(rows)[0], atol=1e-5)
