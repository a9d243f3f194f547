"""Lint, format and types of the public surface, so that the tests fail where `make lint` would."""

from __future__ import annotations

import configparser
import importlib.util
import re
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


def test_the_hooks_look_at_what_is_linted_and_name_what_is_there():
    yaml = pytest.importorskip("yaml", reason="needs pre-commit: pip install -e '.[dev]'")
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    about = configparser.ConfigParser()
    about.read(ROOT / "setup.cfg")
    typed = re.compile(hooks["mypy"]["files"])
    assert all(typed.search(place.strip()) for place in about["mypy"]["files"].split(","))
    named = [word for hook in hooks.values() for word in hook["entry"].split() if word.startswith("tests/")]
    assert named and all((ROOT / word).is_file() for word in named)
