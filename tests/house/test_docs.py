"""What the documentation shows must run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import embcomp

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(embcomp.__path__, "embcomp.")
    if not name.endswith("__main__")
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    failed, _ = doctest.testmod(importlib.import_module(name), extraglobs={"torch": importlib.import_module("torch")})
    assert not failed


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", readme(), re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_commands_of_the_readme_exist():
    from embcomp.cli import COMMANDS

    used = set(re.findall(r"^embcomp (\w+)", readme(), re.M))
    assert used and used <= set(COMMANDS)


def test_the_files_the_readme_names_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", readme()):
        assert (ROOT / target).exists(), target


TABLES = [
    (path, name)
    for path in [ROOT / "README.md", *sorted((ROOT / "recipes").glob("*/README.md"))]
    for name in re.findall(r"<!-- table: (\S+\.csv) -->", path.read_text(encoding="utf-8"))
]


def test_every_recipe_shows_its_results():
    shown = {name for path, name in TABLES if path.parent.parent == ROOT / "recipes"}
    assert {f"recipes/{path.parent.name}/results.csv" for path in (ROOT / "recipes").glob("*/results.csv")} <= shown


def table_rows(scores) -> set[str]:
    from embcomp.evaluation.scores import summarise
    from embcomp.report import table_lines

    table = summarise(scores)
    return {line for _, part in table.groupby("train_dataset") for line in table_lines(part)}


def comparison_lines(name: str) -> set[str]:
    """What recipes/comparison/table.py prints of a table: all of it, or one of its settings."""
    from recipes.comparison.table import TITLES, markdown

    results = importlib.import_module("embcomp").read_scores(ROOT / name)
    return {line for setting in TITLES for line in markdown(results, setting).splitlines()}


@pytest.mark.parametrize("path, name", TABLES, ids=lambda part: str(part).removeprefix(str(ROOT)))
def test_tables_are_what_was_measured(path, name):
    """Each row shown stands, to the digit, in what the committed scores summarise to."""
    from embcomp import read_scores

    rows = comparison_lines(name) if name.startswith("recipes/comparison/") else table_rows(read_scores(ROOT / name))
    section = path.read_text(encoding="utf-8").split(f"<!-- table: {name} -->")[1].split("<!-- end -->")[0]
    shown = [line for line in section.strip().splitlines() if line.startswith("|")]
    assert len(shown) > 3 and set(shown) <= rows


def test_the_curve_over_labels_is_what_was_measured():
    from embcomp import read_scores
    from recipes.fsdd.label_curve import markdown

    path = ROOT / "recipes/fsdd"
    shown = (path / "README.md").read_text(encoding="utf-8").split("<!-- curve: few_labels.csv -->")[1]
    assert shown.split("<!-- end -->")[0].strip() == markdown(read_scores(path / "few_labels.csv"))
