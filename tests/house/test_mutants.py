"""The tool that puts faults into the code: real faults, the same for a seed, and the tests of each room are there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = '''"""Text."""
from __future__ import annotations


def f(x: int | None = 3) -> int | None:
    """More text."""
    y: int | None = x + 1
    return y if x > 2 else None
'''


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("mutants_tool", ROOT / "tools" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants_tool"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants_tool"]


@pytest.mark.parametrize(
    ("before", "after", "differ"),
    [("x + 1", "x - 1", True), ("x > 2", "x >= 2", True), ("= 3", "= 4", True), ("int | None", "int + None", False), ("Text", "Test", False), ("More text", "", False), ("x + 1", "x +", False)],
)  # fmt: skip
def test_only_what_runs_counts(tool, before, after, differ):
    assert tool.changes_code(CODE, CODE.replace(before, after)) is differ


def test_faults_are_drawn_by_the_seed(tool, tmp_path):
    pytest.importorskip("cosmic_ray")
    (tmp_path / "a.py").write_text(CODE)

    def drawn(seed):
        return [str(one) for one in tool.mutants([tmp_path / "a.py"], tmp_path, 3, seed)]

    assert drawn(0) == drawn(0) and len(drawn(0)) == 3
    assert any(drawn(0) != drawn(seed) for seed in range(1, 5))


def test_every_room_has_code_and_tests(tool):
    for files, tests in tool.ROOMS.values():
        assert all((ROOT / place).exists() for place in [*files, *tests])


def test_faults_that_cannot_be_noticed_say_why_and_are_still_there(tool):
    for (file, before, _), reason in tool.equivalents().items():
        assert len(reason) > 10
        lines = " ".join(line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines())
        assert before in lines, f"{file}: {before}: the code has changed; take it out of tools/equivalents.toml"
