"""The three teachers beside the repository: what they give is what is stored with the data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from helpers.settings import teacher_settings
from scipy.signal import resample_poly

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import fit_length
from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError
from embcomp.teachers import open_teacher
from embcomp.teachers.describe import shipped

GSE = "onnx:{shared}/teachers/google_speech_embedding"
YAMNET = "tflite:{shared}/teachers/yamnet/yamnet.tflite"
LYRA = "tflite:{shared}/teachers/lyra_soundstream_encoder"
STORED = {GSE: "google_speech_192", YAMNET: "yamnet_1024", LYRA: "lyra_soundstream_192"}


def opened(shared, spec):
    pytest.importorskip("onnxruntime" if spec == GSE else "ai_edge_litert")
    return open_teacher(teacher_settings(spec=spec.format(shared=shared)))


def compare(found, shared, spec, data, rows):
    stored = np.load(shared / f"data/{data}/embeddings/{STORED[spec]}.npy")[rows]
    if stored.dtype == np.float16:
        # Near 4 a step of float16 is .004: both are rounded.
        found = found.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(found, stored.astype(np.float32), atol=1e-3)


@pytest.mark.parametrize(
    "spec, data, seconds",
    [
        (GSE, "fsdd", 1.0),
        (GSE, "speech_pool", 1.0),
        (YAMNET, "esc10", 6.0),
        (YAMNET, "drums_acoustic", 6.0),
        (LYRA, "esc10", 6.0),
        (LYRA, "drums_machine", 6.0),
    ],
)
def test_embeddings_are_those_stored(shared, spec, data, seconds):
    teacher = opened(shared, spec)
    manifest = Manifest.read(shared / f"data/{data}/manifest.csv")
    rows = np.linspace(0, len(manifest) - 1, 5).astype(int)
    clips = Clips(manifest, teacher.sample_rate, seconds)
    compare(teacher.embed(*clips.batch(rows)), shared, spec, data, rows)


@pytest.mark.parametrize("spec", [YAMNET, LYRA])
@pytest.mark.parametrize("data", ["fsdd", "donateacry"])
def test_embeddings_of_8_khz_clips_as_they_were_resampled(shared, spec, data):
    # Stored from scipy's resampling; the product's own filter gives these two other values above 4 kHz.
    teacher = opened(shared, spec)
    manifest = Manifest.read(shared / f"data/{data}/manifest.csv")
    rows = np.linspace(0, len(manifest) - 1, 4).astype(int)
    waves = []
    for row in rows:
        wave, rate = soundfile.read(manifest.audio_path(row), dtype="float32")
        waves.append(resample_poly(wave, 16_000, rate).astype(np.float32))
    compare(teacher.embed(*fit_length(waves)), shared, spec, data, rows)


def test_lyra_forgets_the_clip_before(shared):
    teacher = opened(shared, LYRA)
    waves = np.random.default_rng(0).normal(0, 0.1, (2, 3200)).astype(np.float32)
    alone = teacher.embed(waves[:1], np.array([3200]))
    np.testing.assert_array_equal(teacher.embed(waves[::-1], np.array([3200, 3200]))[1], alone[0])


def test_another_file_of_the_same_name_is_not_taken_for_it(shared, tmp_path):
    (tmp_path / "yamnet.tflite").write_bytes((shared / "teachers/yamnet/yamnet.tflite").read_bytes()[:-1] + b"x")
    with pytest.raises(TeacherError, match="nothing says what"):
        open_teacher(teacher_settings(spec=f"tflite:{tmp_path / 'yamnet.tflite'}"))


def test_shipped_descriptions_name_licence_source_and_checksums():
    found = list(shipped())
    assert {one.name for one in found} >= {"google-speech-embedding", "yamnet", "lyra-soundstream"}
    for one in found:
        assert one.licence and one.source and one.summary
        assert all(len(model.sha256) == 64 for model in one.models)
        assert replace(one).models
