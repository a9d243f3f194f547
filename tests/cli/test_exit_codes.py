"""Exit codes as docs/terminal.md lists them, each of the entry point itself."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pandas as pd
import pytest

from embcomp import cli
from embcomp.errors import ConfigError

PAGE = Path(__file__).resolve().parents[2] / "docs/terminal.md"


def interrupted_by(number):
    def work(**options):
        os.kill(os.getpid(), number)
        time.sleep(20)  # the signal comes first
        raise AssertionError("no signal came")

    return work


def failing(error):
    def work(**options):
        raise error

    return work


def lossy(monkeypatch):
    from embcomp.export import writing

    parity = SimpleNamespace(failures=["it lost"])
    done = SimpleNamespace(path=Path("s.lossy.onnx"), parity=parity, model=None, info=None, bad=[])
    monkeypatch.setattr(writing, "export_artifact", lambda *args, **options: done)
    monkeypatch.setattr("embcomp.cli.export._show", lambda written: None)


def differing(monkeypatch):
    from embcomp.pipeline import repeat

    table = pd.DataFrame([dict.fromkeys(("variant", "setting", "test_dataset", "metric", "seed", "column", "before", "now"), "a") | {"difference": 1.0}])  # fmt: skip
    found = SimpleNamespace(
        changes=[], clips=0, added=0, same=False, differing=table, compared=9, largest=1.0, missing=0
    )
    monkeypatch.setattr(repeat, "repeat", lambda *args, **options: found)


# Code, what is called, what is replaced by what, and what is said.
CASES = [
    (0, ["--version"], None, "embcomp"),
    (1, ["validate", "MANIFEST"], None, "no.wav"),
    (1, ["--help"], failing(BrokenPipeError()), ""),
    (2, ["store", "info", "none"], None, "error: "),
    (2, ["validat"], None, "did you mean 'validate'"),
    (2, ["run", "x.toml"], None, "--out"),
    (2, ["--help"], failing(ConfigError("steps must be at least 1")), "error: steps must be at least 1"),
    (2, ["--help"], failing(OSError(errno.ENOSPC, "No space left on device", "x")), "error: x: No space left on device; make room"),
    (2, ["--help"], failing(MemoryError()), "error: memory ran out"),
    (3, ["run", "--from", ".", "--out", "again"], differing, "1 of 9 numbers differ"),
    (4, ["export", "MANIFEST", "--to", "onnx", "--out", "s.onnx"], lossy, "not the same model: it lost"),
    (130, ["--help"], interrupted_by(signal.SIGINT), "interrupted; finished work is kept: run the same command again"),
    (130, ["--help"], failing(click.Abort()), "interrupted; finished work is kept"),
    (143, ["--help"], interrupted_by(signal.SIGTERM), "terminated; finished work is kept"),
]  # fmt: skip


@pytest.fixture
def stack():
    """Signals are handled afterwards as before."""
    with contextlib.ExitStack() as found:
        for number in (signal.SIGINT, signal.SIGTERM):
            found.callback(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield found


@pytest.mark.parametrize(("code", "arguments", "instead", "said"), CASES)
def test_each_code_is_given(code, arguments, instead, said, stack, tmp_path, monkeypatch, capfd):
    (tmp_path / "m.csv").write_text("path,label\nno.wav,a\n")
    (tmp_path / "folder").mkdir()
    places = {"MANIFEST": "folder" if arguments[0] == "export" else "m.csv"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["embcomp", *(places.get(one, one) for one in arguments)])
    if arguments == ["--help"]:
        monkeypatch.setattr(cli, "group", instead)
    elif instead is not None:
        instead(monkeypatch)
    if not said:  # its file is put out of use
        monkeypatch.setattr(sys, "stdout", stack.enter_context((tmp_path / "out").open("w")))
    found = 0
    try:
        cli.main()
    except SystemExit as end:
        found = end.code
    out, err = capfd.readouterr()
    assert found == code and said in out + err and "Traceback" not in err


def test_the_page_lists_these_codes_and_no_others():
    listed = re.findall(r"^\| ([0-9, ]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for row in listed for code in row.split(",")] == sorted({case[0] for case in CASES})
