"""Optional packages are imported in one way, and missed in one wording."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from embcomp.errors import MissingDependencyError
from embcomp.extras import imported, is_missing, missing

PACKAGE = Path(__file__).resolve().parents[2] / "embcomp"


def test_a_part_that_was_imported_before_does_not_hide_that_the_package_is_missing(monkeypatch):
    assert imported("wsgiref.headers", "tables need") is importlib.import_module("wsgiref.headers")
    monkeypatch.setitem(sys.modules, "wsgiref", None)
    message = "tables need its-package: pip install -e '.[tables]' in a clone of embcomp, or write them as CSV"
    with pytest.raises(MissingDependencyError, match=f"^{re.escape(message)}$"):
        imported("wsgiref.headers", "tables need", "its-package", "tables", otherwise=", or write them as CSV")
    assert is_missing("wsgiref") and missing("wsgiref.headers") == "wsgiref is missing: pip install wsgiref"


@pytest.mark.parametrize(
    "content, reason",
    [
        ("raise OSError('libown.so: no such library\\nof them all')", "OSError: libown.so: no such library"),
        ("import a_package_of_nobody", "ModuleNotFoundError: No module named 'a_package_of_nobody'"),
    ],
)
def test_a_package_that_is_there_and_does_not_import_is_not_called_missing(tmp_path, monkeypatch, content, reason):
    (tmp_path / "broken_package.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    message = f"pictures need broken_package, which does not import ({reason}): pip install broken_package"
    with pytest.raises(MissingDependencyError, match=f"^{re.escape(message)}$"):
        imported("broken_package", "pictures need")
    assert not missing("broken_package")


def test_no_other_file_words_the_command_of_an_extra():
    commands = [path.name for path in PACKAGE.rglob("*.py") if "pip install -e" in path.read_text(encoding="utf-8")]
    assert commands == ["extras.py"]
