"""The C file against Python: by the system's compiler, to 1e-4 of a probability, in 8 bits to 1/255."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
import torch
from helpers.settings import student_settings

from embcomp.config import AudioConfig
from embcomp.errors import ArtifactError, ConfigError, DataError, MissingDependencyError
from embcomp.export.base import Calibration
from embcomp.export.c import CFormat, compile_c, compiler
from embcomp.export.c_network import flatten
from embcomp.export.c_source import reference, vector_signal
from embcomp.export.source import ExportOptions, StudentSource
from embcomp.export.writing import export_artifact
from embcomp.students.classifier import Classifier

try:
    compiler()
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)

HARD = ['quo"te', "back\\slash", "??/", "日本", 'x"}; int y = system("true"); //', "%d\n"]


def student(norm="clip", kind="ds_cnn", classes=("a", "b", "c"), multi_label=False, width=16, **audio) -> Classifier:
    """An untrained student whose batch norms and input norm are not at their start."""
    settings = AudioConfig(**{"seconds": 0.4, "n_mels": 24, **audio})
    found = Classifier.new(classes, settings, student_settings(kind=kind, norm=norm, width=width), multi_label, 0)
    generator = torch.Generator().manual_seed(1)
    for name, values in [*found.network.named_buffers(), *found.network.named_parameters()]:
        if name.endswith("running_var") or name == "norm.deviation":
            values.data.uniform_(0.5, 2, generator=generator)
        elif "norm" in name and values.is_floating_point():
            values.data.add_(torch.randn(values.shape, generator=generator) * 0.3)
    if kind == "ds_cnn":  # untrained, it would say the same of all sounds
        found.network.project.weight.data.mul_(8)
        found.network.classify.weight.data.mul_(8)
    found.network.eval()
    return found


def written(tmp_path, classifier, int8=False, samples="float32"):
    source = StudentSource(classifier, ExportOptions(samples=samples))
    form, path = CFormat(), tmp_path / "student.c"
    form.check(source, path, int8)
    info = form.write(source, path, Calibration([]) if int8 else None)
    return source, form.open(path, info), path


def sounds(longest=6400) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [1, 2, 319, 320, 321, 640, 1000, longest // 2 + 1, longest]
    loud = [0.5, 1e-5, 0.01, 0.9, 0.1, 0.3, 0.0, 0.2, 0.05]
    return [(rng.uniform(-1, 1, count) * level).astype(np.float32) for count, level in zip(lengths, loud)]


@pytest.mark.parametrize("norm", ["none", "global", "clip", "band", "blend"])
def test_float_weights_are_the_student(tmp_path, norm):
    source, model, _ = written(tmp_path, student(norm))
    expected = source.reference(sounds())[0]
    assert np.ptp(expected, axis=0).max() > 0.02  # it says different things of different sounds
    np.testing.assert_allclose(model.probabilities(sounds()), expected, atol=1e-4)


@pytest.mark.parametrize("int8", [False, True])
def test_channels_that_are_no_multiple_of_four_and_a_short_transform(tmp_path, int8):
    classifier = student(width=21, n_fft=64, win_length=50, hop_length=60, n_mels=13)
    with torch.no_grad():  # else it would be certain of one class
        classifier.network.classify.bias.zero_()
        classifier.network.classify.weight.mul_(0.2)
    source, model, _ = written(tmp_path, classifier, int8)
    network = flatten(classifier.network, int8)
    assert [len(layer.biases) % 4 for layer in network.layers[:3]] == [1, 1, 1]
    expected = np.stack([reference(network, source.front, False, row) for row in sounds()])
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(model.probabilities(sounds()), expected, atol=1e-4)


@pytest.mark.parametrize("samples", ["float32", "int16"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_8_bit_weights_are_the_student_with_those_weights(tmp_path, samples, multi_label):
    classifier = student(multi_label=multi_label)
    source, model, path = written(tmp_path, classifier, True, samples)
    network = flatten(classifier.network, True)
    assert all(layer.weights.dtype == np.int8 for layer in network.layers)
    rows = [np.round(row * 32768).astype(np.float32) / 32768 for row in sounds()]
    expected = np.stack([reference(network, source.front, multi_label, row) for row in rows])
    found = model.probabilities(rows)
    assert np.abs(found - expected).max() < 1 / 255
    assert np.abs(found - source.reference(rows)[0]).max() < 0.05  # and not far from the student as it was
    assert "typedef int8_t weight" in path.read_text() and "malloc" not in path.read_text()


def test_rounding_keeps_the_student_it_is_given(rng):
    classifier = student()
    before = {name: values.clone() for name, values in classifier.network.state_dict().items()}
    flatten(classifier.network, True)
    for name, values in classifier.network.state_dict().items():
        assert torch.equal(values, before[name])


@pytest.mark.parametrize("int8", [False, True])
def test_the_file_checks_itself_and_touches_no_memory_but_its_own(tmp_path, int8):
    _, _, path = written(tmp_path, student(classes=HARD), int8)
    program = tmp_path / "check"
    try:
        compile_c(path, program, "-DEMBCOMP_TEST", "-fsanitize=address,undefined", "-fno-sanitize-recover", "-g")
    except ArtifactError:  # a compiler without sanitisers
        compile_c(path, program, "-DEMBCOMP_TEST")
    done = subprocess.run([program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(done.stdout.split()[-1]) < (1 / 255 if int8 else 1e-4)
    # A file that is changed fails its own check.
    text, codes = path.read_text(), []
    at = text.index("{", text.index("classify_biases[")) + 1
    for more in ("30.0f", "-30.0f"):  # one of them changes what the first class has
        path.write_text(f"{text[:at]} {more} + {text[at:].lstrip()}")
        compile_c(path, program, "-DEMBCOMP_TEST")
        codes.append(subprocess.run([program], capture_output=True, timeout=30).returncode)
    assert 1 in codes


def test_labels_are_what_they_were(tmp_path):
    _, _, path = written(tmp_path, student(classes=HARD))
    main = tmp_path / "main.c"
    main.write_text(f'#include <stdio.h>\n#include "{path}"\nint main(void) {{ for (int i = 0; i < EMBCOMP_CLASSES; i++) '
                    'fwrite(embcomp_labels[i], 1, __builtin_strlen(embcomp_labels[i]) + 1, stdout); return 0; }\n')  # fmt: skip
    compile_c(main, tmp_path / "main")
    done = subprocess.run([tmp_path / "main"], capture_output=True, timeout=30)
    assert done.stdout.decode().split("\0")[:-1] == HARD


def test_lengths_that_are_none_are_refused(tmp_path):
    _, model, _ = written(tmp_path, student())
    with pytest.raises(DataError, match="takes 1 to 6400 samples, not 6401"):
        model.run(np.zeros((1, 6401), dtype=np.float32))


def test_the_signal_of_the_vectors_is_made_of_whole_numbers():
    found = vector_signal(1, 3, 40, 200)
    assert found.dtype.kind == "i" and set(np.sign(found[:40])) == {-1} and np.abs(found).max() <= 4096 + 4096


def test_exported_by_name_with_what_it_takes_of_a_device(trained, tmp_path):
    float_, int8 = (
        export_artifact(trained / "student", tmp_path / name, "c", int8=name[0] == "i") for name in ("f.c", "i.c")
    )
    assert float_.parity.agreement == 1 and float_.parity.largest < 1e-4 and not int8.parity.failures
    assert int8.info.about["flash"] < float_.info.about["flash"] * 0.6
    assert int8.info.about["ram"] == float_.info.about["ram"] < 100_000
    assert json.loads((tmp_path / "i.c.json").read_text())["model"]["precision"] == "int8"
    with pytest.raises(ConfigError, match="rounds weights alone"):
        export_artifact(trained / "student", tmp_path / "i.c", "c", int8=True, calibrate=object())


@pytest.mark.parametrize(
    "classifier, options, message",
    [
        ({"kind": "tc_resnet"}, {}, "template for the student ds_cnn, not for tc_resnet"),
        ({"norm": "pcen"}, {}, "input norms none, global, clip, band, blend, not pcen"),
        ({"n_fft": 600}, {}, "audio.n_fft of this student is 600"),
        ({}, {"input": "logmel"}, "leave --input and --embedding out"),
        ({}, {"embedding": True}, "leave --input and --embedding out"),
    ],
)
def test_what_the_template_does_not_have_is_refused_by_name(tmp_path, classifier, options, message):
    kind = classifier.get("kind")
    if kind == "tc_resnet":
        found = Classifier.new(["a", "b"], AudioConfig(seconds=0.4, n_mels=24), student_settings(kind=kind), False, 0)
        found.network.eval()
    else:
        found = student(**classifier)
    source = StudentSource(found, ExportOptions(**options))
    with pytest.raises(ConfigError, match=message):
        CFormat().check(source, tmp_path / "s.c", False)


def test_without_a_compiler_it_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr("embcomp.export.c.shutil.which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs a C compiler"):
        CFormat().check(StudentSource(student(), ExportOptions()), tmp_path / "s.c", False)
