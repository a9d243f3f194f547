"""Constraints of the oldest versions allowed: each core requirement but torch, at its lower bound."""

from __future__ import annotations

import configparser
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def oldest():
    spec = importlib.util.spec_from_file_location("oldest_tool", ROOT / "tools" / "oldest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.oldest


def test_every_core_requirement_but_torch_is_at_its_lower_bound(oldest):
    content = configparser.ConfigParser()
    content.read(ROOT / "setup.cfg", encoding="utf-8")
    required = {text.split(">=")[0]: text.split(">=")[1] for text in content["options"]["install_requires"].split()}
    found = dict(line.split("==") for line in oldest(ROOT / "setup.cfg"))
    assert found.keys() == required.keys() - {"torch"}
    for name, version in found.items():
        assert version.removesuffix(".*") == required[name], name


def test_one_without_a_bound_is_named(oldest, tmp_path):
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires =\n    numpy\n", encoding="utf-8")
    with pytest.raises(ValueError, match="numpy in .* has no lower bound"):
        oldest(tmp_path / "setup.cfg")
