"""Lint, format and types of the public surface, so that the tests fail where `make lint` would."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {"lint": ("ruff", "check"), "format": ("ruff", "format", "--check"), "types": ("mypy", "--cache-dir={cache}")}


@pytest.mark.parametrize("name", TOOLS)
def test_sources_are_clean(name, tmp_path):
    module, *options = (word.format(cache=tmp_path) for word in TOOLS[name])
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}: pip install -e '.[dev]'")
    done = subprocess.run(
        [sys.executable, "-m", module, *options], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert not done.returncode, f"{done.stdout}{done.stderr}"
