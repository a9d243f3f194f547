"""Teachers in model files: chains, windows, state and what is wrong with them, on graphs made here."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.graphs import describe, onnx_frames, onnx_matrix, onnx_running_sum, tflite_matrix, tflite_quantised
from helpers.settings import teacher_settings

from embcomp.errors import ConfigError, TeacherError
from embcomp.teachers import open_teacher

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

CHAIN = """
sample_rate = 8000
shortest = 40
pad = "both"
multiply = 10.0
pooling = ["mean", "max"]
[[models]]
file = "frames.onnx"
time = 2
divide = 4.0
add = 1.0
[[models]]
file = "matrix.onnx"
window = 3
hop = 2
shape = [12]
"""


@pytest.fixture
def matrix(rng):
    return rng.normal(size=(12, 5)).astype(np.float32)


@pytest.fixture
def chain(tmp_path, matrix):
    onnx_frames(tmp_path / "chain/frames.onnx", 4)
    onnx_matrix(tmp_path / "chain/matrix.onnx", matrix)
    return describe(tmp_path / "chain", CHAIN)


def by_hand(wave, matrix):
    missing = max(40 - len(wave), 0)
    wave = np.pad(wave, (missing // 2, missing - missing // 2)) * 10
    rows = wave.reshape(-1, 4) * 2 / 4 + 1
    some = [rows[first : first + 3].ravel() for first in range(0, len(rows) - 2, 2)]
    vectors = np.stack(some) @ matrix
    return np.concatenate([vectors.mean(0), vectors.max(0)])


def batch(rng, *lengths):
    waves = np.zeros((len(lengths), max(lengths)), np.float32)
    for row, length in enumerate(lengths):
        waves[row, :length] = rng.normal(0, 0.1, length)
    return waves, np.array(lengths)


def test_a_chain_does_what_its_description_says(chain, matrix, rng):
    teacher = open_teacher(teacher_settings(spec=f"onnx:{chain}"))
    assert (teacher.sample_rate, teacher.dim, teacher.frames) == (8000, 10, 1)
    waves, lengths = batch(rng, 20, 80, 40)
    found = teacher.embed(waves, lengths)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[row], by_hand(waves[row, :length], matrix), rtol=1e-4, atol=1e-5)


def test_it_is_named_by_folder_description_or_model(chain, tmp_path):
    specs = [f"onnx:{chain}", f"onnx:{chain / 'teacher.toml'}", f"onnx:{chain / 'matrix.onnx'}"]
    keys = {open_teacher(teacher_settings(spec=spec)).fingerprint() for spec in specs}
    assert len(keys) == 1
    (chain / "teacher.toml").rename(chain / "frames.toml")
    assert open_teacher(teacher_settings(spec=f"onnx:{chain / 'frames.onnx'}")).fingerprint() in keys


def test_windows_pooling_and_frames_are_settings(chain, rng):
    whole = open_teacher(teacher_settings(spec=f"onnx:{chain}"))
    waves, lengths = batch(rng, 160)
    parts = [whole.vectors([waves[0, start : start + 80]])[0] for start in (0, 40, 80)]
    cut = teacher_settings(spec=f"onnx:{chain}", window=0.01, overlap=0.5, pooling=["statistics"])
    rows = np.concatenate(parts)
    expected = np.concatenate([rows.mean(0), rows.std(0)])
    np.testing.assert_allclose(open_teacher(cut).embed(waves, lengths)[0], expected, rtol=1e-4, atol=1e-5)
    shares = open_teacher(teacher_settings(spec=f"onnx:{chain}", frames=2, pooling=["mean"]))
    assert (shares.dim, shares.frames) == (10, 2)
    rows = whole.vectors([waves[0]])[0]
    half = shares.embed(waves, lengths).reshape(2, 5)
    np.testing.assert_allclose(half[0], rows[: -(-len(rows) // 2)].mean(0), rtol=1e-4, atol=1e-5)


def test_the_fingerprint_follows_whatever_changes_an_embedding(chain, matrix):
    def key(**options):
        return open_teacher(teacher_settings(spec=f"onnx:{chain}", **options)).fingerprint()

    first = key()
    keys = {first, key(window=0.01), key(window=0.01, overlap=0.0), key(pooling=["max"]), key(frames=2)}
    (chain / "teacher.toml").write_text(CHAIN.replace("add = 1.0", "add = 2.0"))
    keys.add(key())
    (chain / "teacher.toml").write_text('name = "chain"\nsummary = "two models"\n' + CHAIN)
    assert key() == first
    onnx_matrix(chain / "matrix.onnx", matrix + 1)
    keys.add(key())
    assert len(keys) == 7


def test_a_clip_does_not_depend_on_its_batch(chain, rng):
    teacher = open_teacher(teacher_settings(spec=f"onnx:{chain}"))
    waves, lengths = batch(rng, 20, 80, 40)
    together = teacher.embed(waves, lengths)
    for row in range(3):
        np.testing.assert_array_equal(teacher.embed(waves[row : row + 1], lengths[row : row + 1])[0], together[row])


def test_a_streaming_graph_starts_anew_with_each_clip(tmp_path, rng):
    onnx_running_sum(tmp_path / "sum.onnx", 4)
    text = """
    sample_rate = 8000
    pooling = ["last"]
    [[models]]
    file = "sum.onnx"
    input = "x"
    output = "y"
    window = 4
    tail = "pad"
    constants = { gain = 3.0 }
    state = { state = "new_state" }
    """
    teacher = open_teacher(teacher_settings(spec=f"onnx:{describe(tmp_path, text)}"))
    waves, lengths = batch(rng, 10, 6)
    for _ in range(2):
        found = teacher.embed(waves, lengths)[:, 0]
        np.testing.assert_allclose(found, 3 * waves.sum(1) / 4, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"batch": 2}, {"any_batch": True}])
@pytest.mark.parametrize("output, factor", [("", 2.0), ("inner", 1.0)])
def test_tflite_reads_outputs_and_tensors_within_the_graph(tmp_path, matrix, rng, options, output, factor):
    pytest.importorskip("ai_edge_litert")
    tflite_matrix(tmp_path / "m.tflite", matrix, **options)
    text = f"""
    sample_rate = 8000
    [[models]]
    file = "m.tflite"
    output = "{output}"
    window = 12
    hop = 6
    reset = "{"none" if options else "clip"}"
    batch = {1 if options == {} else 2 if "batch" in options else 0}
    """
    teacher = open_teacher(teacher_settings(spec=f"tflite:{describe(tmp_path, text)}"))
    waves, lengths = batch(rng, 30, 48)  # 4 and 7 windows
    lengths[1] = 36  # 5 windows
    if "batch" in options:
        lengths[1] = 42  # 6 windows: the graph takes two at a time
    found = teacher.embed(waves, lengths)
    for row, length in enumerate(lengths):
        some = np.stack([waves[row, first : first + 12] for first in range(0, length - 11, 6)])
        np.testing.assert_allclose(found[row], factor * np.maximum(some @ matrix, 0).mean(0), rtol=1e-4, atol=1e-5)


def test_quantised_tensors_are_taken_and_given_as_values(tmp_path, rng):
    pytest.importorskip("ai_edge_litert")
    tflite_quantised(tmp_path / "q.tflite", 16)
    describe(tmp_path, 'sample_rate = 8000\n[[models]]\nfile = "q.tflite"\nwindow = 16\n')
    teacher = open_teacher(teacher_settings(spec=f"tflite:{tmp_path}"))
    wave = rng.uniform(-1, 1, (1, 16)).astype(np.float32)
    np.testing.assert_allclose(teacher.embed(wave, np.array([16])), wave, atol=0.02)
    loud = teacher.embed(wave * 100, np.array([16]))  # cut at the largest number there is, not wrapped around
    assert (np.sign(loud) == np.sign(wave)).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (("window = 3", "window = 99999999"), "window must be at most 16777216"),
        (("sample_rate = 8000", ""), "sample_rate .* is missing"),
        (("sample_rate = 8000", "sample_rate = 8"), "sample_rate must be at least 1000"),
        (("sample_rate", "samplerate"), "unknown key 'samplerate': did you mean 'sample_rate'"),
        (("hop = 2", "hops = 2"), "unknown key 'models.1.hops': did you mean 'hop'"),
        (('pooling = ["mean", "max"]', 'pooling = ["average"]'), "pooling is 'average'"),
        (('pooling = ["mean", "max"]', "pooling = []"), "pooling must name at least one"),
        (("window = 3", ""), "models.1.hop needs a window"),
        (('file = "matrix.onnx"', 'file = "../matrix.onnx"'), "must name a file beside the description"),
        (("divide = 4.0", "divide = 0.0"), "divide must not be 0"),
        (("[[models]]", "[[model]]"), "names no model"),
        (("sample_rate = 8000", "sample_rate = 8000\nformat = 2"), "format 2 is of another version"),
        (("shape = [12]", "shape = [12]\nstate = { a = 1 }"), "state names an output for each input"),
        (("shape = [12]", "shape = [12]\nconstants = { a = 'b' }"), "constants.a must be a number"),
        (("sample_rate = 8000", "sample_rate = "), "not TOML"),
    ],
)
def test_wrong_descriptions_are_refused(chain, change, message):
    (chain / "teacher.toml").write_text(CHAIN.replace(*change))
    with pytest.raises(ConfigError, match=message):
        open_teacher(teacher_settings(spec=f"onnx:{chain}"))


@pytest.mark.parametrize(
    "change, message",
    [
        (('file = "matrix.onnx"', 'file = "matrix.tflite"'), "does not end in .onnx"),
        (('file = "matrix.onnx"', 'file = "other.onnx"'), "other.onnx does not open|cannot read .*other.onnx"),
        (("shape = [12]", "shape = [13]"), "does not fit shape = .13."),
        (("shape = [12]", "shape = [3, 4]"), "takes x float32.*refuses an input of shape"),
        (("shape = [12]", "shape = [12]\ninput = 'z'"), "no input 'z': .*One of: x"),
        (("shape = [12]", "shape = [12]\noutput = 'z'"), "no output 'z': .*One of: y"),
        (("time = 2", "time = 4"), "has no axis 4; correct models.time"),
        (("shape = [12]", f"shape = [12]\nsha256 = '{'0' * 64}'"), "is not the file that .*teacher.toml describes"),
    ],
)
def test_models_that_do_not_fit_their_description_say_what_to_mend(chain, change, message):
    (chain / "teacher.toml").write_text(CHAIN.replace(*change))
    with pytest.raises(TeacherError, match=message) as caught:
        open_teacher(teacher_settings(spec=f"onnx:{chain}"))
    assert "\n" not in str(caught.value)


def test_missing_undescribed_and_damaged_files(tmp_path, chain, matrix):
    for spec, message in (
        (f"onnx:{tmp_path}/none.onnx", "no model at .*none.onnx"),
        (f"onnx:{onnx_matrix(tmp_path / 'alone/m.onnx', matrix)}", "nothing says what .* takes: write .*m.toml beside"),
        (f"onnx:{tmp_path / 'alone'}", "nothing says what"),
    ):
        with pytest.raises(TeacherError, match=message):
            open_teacher(teacher_settings(spec=spec))
    (chain / "matrix.onnx").write_bytes(b"no graph")
    with pytest.raises(TeacherError, match=r"matrix.onnx does not open: .*; get the file again"):
        open_teacher(teacher_settings(spec=f"onnx:{chain}"))
    for name in ("onnx", "tflite"):
        with pytest.raises(ConfigError, match=f"needs a model: {name}:FILE"):
            teacher_settings(spec=name)


def test_further_inputs_must_be_given(tmp_path, matrix):
    onnx_matrix(tmp_path / "m.onnx", matrix, extra=["rate"])
    describe(tmp_path, 'sample_rate = 8000\n[[models]]\nfile = "m.onnx"\nwindow = 12\n')
    with pytest.raises(TeacherError, match=r"further inputs rate: give them .* models.constants.rate"):
        open_teacher(teacher_settings(spec=f"onnx:{tmp_path}"))


def test_damaged_tflite(tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "m.tflite").write_bytes(b"no graph at all")
    describe(tmp_path, 'sample_rate = 8000\n[[models]]\nfile = "m.tflite"\nwindow = 12\n')
    with pytest.raises(TeacherError, match=r"m.tflite does not open: .*get the file again"):
        open_teacher(teacher_settings(spec=f"tflite:{tmp_path}"))
