"""What `make lint` makes of the answers of pip-audit."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PLACE = Path(__file__).resolve().parents[2] / "tools" / "audit.py"
WEAK = {
    "name": "a",
    "version": "1",
    "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}, {"id": "CVE-2", "fix_versions": []}],
}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("audit_tool", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answering(out="", err="", code=0):
    script = f"import sys; sys.stdout.write({out!r}); sys.stderr.write({err!r}); sys.exit({code})"
    return [sys.executable, "-S", "-c", script]


def test_weaknesses_are_an_error_with_their_mend(tool):
    code, said = tool.audit(
        answering(json.dumps({"dependencies": [WEAK, {"name": "b", "version": "1", "vulns": []}]}), code=1)
    )
    assert code == 1
    assert said.splitlines()[1:] == ["  a 1: CVE-1, mended in 2", "  a 1: CVE-2"]


def test_none_is_said_with_how_many_were_not_known(tool):
    packages = [{"name": "b", "version": "1", "vulns": []}, {"name": "c", "skip_reason": "not on the index"}]
    assert tool.audit(answering(json.dumps({"dependencies": packages}))) == (
        0,
        "1 packages without known weaknesses, 1 of which nothing is known",
    )


@pytest.mark.parametrize("out", ["", "[]", "{", '{"other": 1}'])
def test_no_answer_is_a_notice(tool, out):
    code, said = tool.audit(answering(out, "Traceback\nConnectionError: no network", 1))
    assert code == 0 and said == "notice: packages were not audited: ConnectionError: no network"


def test_no_pip_audit_is_a_notice(tool):
    code, said = tool.audit([str(PLACE.with_name("nothing"))])
    assert code == 0 and said.startswith("notice: packages were not audited: ")
