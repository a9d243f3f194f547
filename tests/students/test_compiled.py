"""The kernels are compiled once, kept, and done without where they cannot be had."""

from __future__ import annotations

import os
import shutil
import stat

import pytest
import torch

from embcomp.students import DSCNN, compiled, fused

COMPILER = next(filter(None, map(shutil.which, compiled.COMPILERS)), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture
def afresh(tmp_path, monkeypatch):
    """Nothing loaded, and an empty cache, whose folder this is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    monkeypatch.setattr(compiled, "FLAGS", ("-O0", *compiled.FLAGS[1:]))  # sooner compiled
    compiled._load.cache_clear()
    yield tmp_path / "embcomp" / "kernels"
    compiled._load.cache_clear()


def one_step():
    torch.manual_seed(0)
    student = DSCNN(3, 32).train()
    student(torch.randn(2, 32, 50), None).logits.sum().backward()
    return student.stem.weight.grad


@needs_compiler
def test_it_is_compiled_once_and_found_again(afresh, monkeypatch):
    assert compiled.kernels() is not None and compiled.why_not() == ""
    kept = sorted(afresh.iterdir())
    assert len(kept) == 2 and all(path.suffix == ".so" for path in kept)  # float32 and bfloat16
    assert stat.S_IMODE(afresh.stat().st_mode) & 0o022 == 0
    compiled._load.cache_clear()
    monkeypatch.setattr(compiled, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compiled.kernels() is not None


@needs_compiler
def test_another_source_or_processor_is_compiled_anew(afresh, monkeypatch):
    compiled.kernels()
    monkeypatch.setattr(compiled, "_processor", lambda: "another")
    compiled._load.cache_clear()
    compiled.kernels()
    assert len(list(afresh.iterdir())) == 2


@needs_compiler
def test_what_another_user_left_is_not_loaded(afresh, monkeypatch):
    compiled.kernels()
    compiled._load.cache_clear()
    monkeypatch.setattr(compiled.os, "getuid", lambda: os.geteuid() + 1)
    compiled_again = []
    real = compiled._compile
    monkeypatch.setattr(compiled, "_compile", lambda *given: (compiled_again.append(1), real(*given)))
    compiled.kernels()
    assert compiled_again


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"EMBCOMP_KERNELS": "0"}, "EMBCOMP_KERNELS=0 is set"),
        ({"CXX": "no-such-compiler"}, "no C++ compiler found (no-such-compiler); install one, such as g++"),
        ({"CXX": "false"}, "false did not compile kernels.cpp"),
    ],
)
def test_without_them_students_train_by_their_layers(afresh, monkeypatch, settings, reason):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert compiled.kernels() is None and reason in compiled.why_not()
    assert not fused.usable(torch.zeros(2, 1, 8, 8), (4, 4))
    assert torch.isfinite(one_step()).all()


@needs_compiler
def test_a_folder_that_cannot_be_written_is_passed_over(afresh, monkeypatch):
    afresh.parent.parent.joinpath("embcomp").write_text("in the way")
    assert compiled.kernels() is not None
