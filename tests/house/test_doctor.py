"""The diagnosis names what is broken, and nothing it meets stops it."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from embcomp import doctor
from embcomp.cli.doctor import doctor as command
from embcomp.doctor import BROKEN, NOTE, OK, Finding


@pytest.fixture
def healthy(monkeypatch):
    """The self-test takes seconds: tried once below, elsewhere taken for done."""
    monkeypatch.setattr(doctor, "check_itself", lambda: Finding("self-test", OK, "done"))


def broken_import(monkeypatch, name, error):
    """Importing `name` raises `error`; the packages of others import as before."""
    real = doctor.importlib.import_module

    def load(module, *rest):
        if module == name:
            raise error
        return real(module, *rest)

    monkeypatch.setattr(doctor.importlib, "import_module", load)


def found(name, **options) -> Finding:
    return {finding.name: finding for finding in doctor.examine(**options)}[name]


def test_the_self_test_works_here_and_leaves_threads_alone():
    threads = torch.get_num_threads()
    finding = doctor.check_itself()
    assert finding.state == OK and "100% classified correctly" in finding.found
    assert torch.get_num_threads() == threads


def test_a_student_that_learns_nothing_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "end_to_end", lambda folder: 0.5)
    finding = doctor.check_itself()
    assert finding.state == BROKEN and "50%" in finding.found and finding.fix


def test_the_command_says_usable(healthy, capsys, tmp_path):
    command.main(["--out", str(tmp_path)], standalone_mode=False)
    text = capsys.readouterr().out
    assert "\nusable; " in text and "torch: " in text and "self-test" in text
    command.main(["--json", "--out", str(tmp_path)], standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    assert answer["usable"] is True
    assert {"name", "state", "found", "fix"} == set(answer["findings"][0])
    assert set(doctor.NEEDED) <= {finding["name"] for finding in answer["findings"]}


def test_a_missing_package_is_broken_and_the_rest_is_looked_at(healthy, monkeypatch, capsys):
    broken_import(monkeypatch, "soxr", ImportError("No module named 'soxr'"))
    with pytest.raises(SystemExit) as left:
        command.main([], standalone_mode=False)
    text = capsys.readouterr().out
    assert "broken  soxr: does not import" in text and "pip install --force-reinstall soxr" in text
    assert "self-test" in text and "1 essential check failed" in text
    assert left.value.code == 1


def test_an_old_package_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ["numpy>=99.1", "torch>=2.4; extra == 'x'", "scipy"])
    assert doctor.check_package("numpy").fix == "pip install --upgrade 'numpy>=99.1'"
    assert doctor.check_package("torch").state == OK and doctor.check_package("scipy").state == OK


def test_torchaudio_of_another_build_is_a_note_with_its_mend(healthy, monkeypatch):
    broken_import(monkeypatch, "torchaudio", OSError("libcudart.so.13: cannot open shared object file\nmore"))
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    finding = found("torchaudio")
    assert finding.state == NOTE and "libcudart.so.13" in finding.found and "more" not in finding.found
    assert "torchaudio==2.13.0 --index-url https://download.pytorch.org/whl/cpu" in finding.fix


@pytest.mark.parametrize("name", ["torchaudio", "onnxruntime", "matplotlib"])
def test_what_is_optional_may_be_missing(monkeypatch, name):
    broken_import(monkeypatch, name, ModuleNotFoundError(f"No module named '{name}'", name=name))
    finding = doctor.check_torchaudio() if name == "torchaudio" else doctor.check_extra(name, "viz", "pictures")
    assert finding.state == OK and "not installed" in finding.found


def test_an_optional_part_that_does_not_load_is_a_note(monkeypatch):
    broken_import(monkeypatch, "onnxruntime", OSError("libonnx.so"))
    assert doctor.check_extra("onnxruntime", "onnx", "export").state == NOTE


def test_a_gpu_that_does_not_compute_is_a_note(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    finding = doctor.check_device("meta:0")
    assert finding.state == NOTE and "does not compute" in finding.found and "--device cpu" in finding.fix


def test_a_full_disk_and_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    assert doctor.check_disk(tmp_path / "not/yet/there").state == OK
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor.check_disk(tmp_path).state == NOTE and "make room" in doctor.check_disk(tmp_path).fix
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert doctor.check_disk(tmp_path).state == BROKEN


def test_more_threads_than_cores_are_noted(monkeypatch):
    monkeypatch.setattr(doctor, "available_cores", lambda: 1)
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [{"internal_api": "openblas", "num_threads": 64}])
    finding = doctor.check_threads()
    assert finding.state == NOTE and "openblas x64" in finding.found and finding.fix.endswith("OMP_NUM_THREADS=1")
    monkeypatch.setattr(doctor, "free_cores", lambda: 1)
    monkeypatch.setattr(doctor, "available_cores", lambda: 4)
    assert "other processes use 3" in doctor.check_cores().fix


def test_lost_decoders_are_noted(monkeypatch):
    import soundfile

    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "", "FLAC": "", "OGG": ""})
    assert doctor.check_formats().state == NOTE and "mp3 cannot be read" in doctor.check_formats().fix


def test_an_old_python_is_broken(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert doctor.check_python().state == BROKEN


def test_a_check_that_fails_itself_does_not_end_the_diagnosis(monkeypatch):
    def fails():
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(doctor, "check_itself", fails)
    findings = list(doctor.examine())
    assert findings[-1].state == BROKEN and "ZeroDivisionError: by zero" in findings[-1].found
    assert not doctor.usable(findings)


@pytest.mark.parametrize(("reason", "state"), [("", OK), ("no C++ compiler found", NOTE)])
def test_training_without_kernels_is_slow_and_no_fault(monkeypatch, reason, state):
    from embcomp.students import compiled

    monkeypatch.setattr(compiled, "why_not", lambda: reason)
    finding = doctor.check_kernels()
    assert finding.state == state and reason in finding.found
