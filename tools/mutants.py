"""Small faults put into the code by cosmic-ray, one at a time: which of them do the tests of their room notice?

    python tools/mutants.py                        # 200 of each room, hours
    python tools/mutants.py --room metrics --sample 20

Places are drawn by a seed, then a fault at each: another operator, comparison, number or constant, a loop that never runs.
A fault that changes annotations or documentation alone is none. The tests run in a copy of the repository, in a forked
process that has torch and the like imported already: first those that run the line, then, if they pass, all of the room.
Faults in tools/equivalents.toml cannot be noticed, for the reason there.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
# What is mutated, and the tests that concern it.
ROOMS = {
    "learning": (["embcomp/learning"], ["tests/learning"]),
    "losses": (["embcomp/losses"], ["tests/losses", "tests/transfer/test_frames.py"]),
    "metrics": (["embcomp/metrics"], ["tests/metrics"]),
    "evaluation": (["embcomp/evaluation"], ["tests/evaluation"]),
    "compression": (["embcomp/compression"], ["tests/compression"]),
    "transfer": (["embcomp/transfer"], ["tests/transfer", "tests/training/test_mixup.py"]),
    "guards": (
        ["embcomp/data/guards.py", "embcomp/data/splits.py"],
        [f"tests/data/test_{name}.py" for name in ("guards", "splits", "split_choice", "groups")],
    ),
}
VALUES = "tests/house/test_values.py"  # counts for every room
HEAVY = ("numpy", "scipy.stats", "scipy.optimize", "pandas", "torch", "torch._dynamo", "sklearn.linear_model", "sklearn.decomposition",
         "sklearn.metrics", "safetensors.torch", "soundfile", "hypothesis", "pytest")  # fmt: skip
# They ask for settings, or take away what only makes the code faster.
WITHOUT = ("VariableInserter", "VariableReplacer", "RemoveDecorator")


@dataclass(frozen=True)
class Mutant:
    """A fault: the text of a file with it."""

    file: str
    line: int
    operator: str
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.before.strip()}  ->  {self.after.strip()}"


def places(file: Path) -> list[list[tuple[str, int]]]:
    """For each place where there can be a fault, the operators and the number of their occurrence."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    found: dict[tuple, list[tuple[str, int]]] = {}
    tree = get_ast(file.read_text(encoding="utf-8"))
    for name in sorted(operator_names()):
        if any(word in name for word in WITHOUT):
            continue
        operator = get_operator(name)()
        positions = [position for node in ast_nodes(tree) for position in operator.mutation_positions(node)]
        for number, position in enumerate(positions):
            found.setdefault(tuple(position), []).append((name, number))
    return [found[position] for position in sorted(found)]


def mutants(files: list[Path], root: Path, count: int, seed: int) -> Iterator[Mutant]:
    """`count` faults in `files`, at places drawn without return."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    rng = random.Random(seed)
    every = [(file, choices) for file in files for choices in places(file)]
    rng.shuffle(every)
    for file, choices in every:
        if not count:
            return
        name, number = rng.choice(choices)
        before = file.read_text(encoding="utf-8")
        after = mutate_code(before, get_operator(name)(), number)
        if after is None or not changes_code(before, after):
            continue
        _, _, where, *lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        removed, added = (" ".join(line[1:].strip() for line in lines if line[0] == mark) for mark in "-+")
        line = int(where.split()[1].split(",")[0].lstrip("-"))
        yield Mutant(file.relative_to(root).as_posix(), line, name.removeprefix("core/"), removed, added, after)
        count -= 1


def changes_code(before: str, after: str) -> bool:
    """Whether two texts of a module differ in what runs: not in annotations, which no one evaluates, nor in documentation."""
    try:
        return _running(before) != _running(after)
    except SyntaxError:
        return False


def _running(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant("")
    return ast.dump(tree)


class LinesOfTests:
    """A plugin of pytest: the lines of `files` that each test runs, and the seconds it takes, written to `result`."""

    def __init__(self, files: list[Path], result: Path) -> None:
        import coverage

        self.files, self.result, self.seconds = files, result, {}
        self.coverage = coverage.Coverage(data_file=None, include=[str(file) for file in files], config_file=False)
        self.coverage.set_option("run:core", "ctrace")
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self):
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {str(file): data.contexts_by_lineno(str(file)) for file in self.files}
        self.result.write_text(json.dumps({"seconds": self.seconds, "lines": lines}))


def of_line(content: str, line: int, tests: dict[str, list[str]], seconds: dict[str, float]) -> list[str]:
    """Tests that run the statement at `line`, or any of the function that has it in its head; the quickest files first."""
    at = min(
        (node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno),
        key=lambda node: node.end_lineno - node.lineno,
        default=None,
    )  # fmt: skip
    if at is None:
        return []
    function = isinstance(at, (ast.FunctionDef, ast.AsyncFunctionDef))
    last = at.body[0].lineno - 1 if hasattr(at, "body") and not function else at.end_lineno
    found = {test for number in range(at.lineno, last + 1) for test in tests.get(str(number), []) if test}
    files: dict[str, list[str]] = {}
    for test in sorted(found, key=lambda test: seconds.get(test, 0.0)):
        files.setdefault(test.split("::")[0], []).append(test)
    return [
        test
        for file in sorted(files, key=lambda file: sum(seconds.get(test, 0.0) for test in files[file]))
        for test in files[file]
    ]


def test(copy: Path, tests: list[str], seconds: float, *plugins: Callable[[], object]) -> tuple[bool, float]:
    """Run tests in a forked process; whether all passed within `seconds`, and how long it took."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _tests_in_child(copy, tests, plugins)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0, time.monotonic() - started
        if time.monotonic() - started > seconds:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False, seconds
        time.sleep(0.02)


def _tests_in_child(copy: Path, tests: list[str], plugins: Sequence[Callable[[], object]]) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(copy)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.path[:] = [
            str(copy),
            str(copy / "tests"),
            *(part for part in sys.path if Path(part or ".").resolve() != ROOT),
        ]
        os.environ["PYTHONPATH"] = str(copy)
        import pytest

        given = [plugin() for plugin in plugins]
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests], given))
    finally:
        os._exit(code)


def equivalents() -> dict[tuple[str, str, str], str]:
    """Faults that cannot be noticed, by file and text, with the reason."""
    content = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))
    return {(one["file"], one["before"], one["after"]): one["reason"] for one in content.get("mutant", [])}


def score(room: str, count: int, seed: int, copy: Path) -> tuple[int, int, list[Mutant]]:
    """Faults tried that are not known to be equivalent, how many were noticed, and the others."""
    places_of, tests = ROOMS[room][0], [VALUES, *ROOMS[room][1]]
    files = [
        file
        for place in places_of
        for file in ([copy / place] if place.endswith(".py") else sorted((copy / place).glob("*.py")))
    ]
    result = copy.parent / f"{room}.json"
    passed, took = test(copy, tests, 3600, lambda: LinesOfTests(files, result))
    if not passed:
        say(f"{room}: its tests fail without a fault; see {' '.join(tests)}")
        return 0, 0, []
    known, tried, missed = equivalents(), 0, []
    ran = json.loads(result.read_text())
    for mutant in mutants(files, copy, count, seed):
        if (mutant.file, mutant.before, mutant.after) in known:
            continue
        file = copy / mutant.file
        whole = file.read_text(encoding="utf-8")
        file.write_text(mutant.text, encoding="utf-8")
        near = of_line(whole, mutant.line, ran["lines"][str(file)], ran["seconds"])
        passed = True
        for some in (near, tests):
            if some and passed:
                passed, _ = test(
                    copy, some, 30 + 5 * (took if some is tests else sum(ran["seconds"][one] for one in near))
                )
        file.write_text(whole, encoding="utf-8")
        tried += 1
        if passed:
            missed.append(mutant)
            say(f"  not noticed: {mutant}")
    return tried, tried - len(missed), missed


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", action="append", choices=list(ROOMS), help="repeatable; by default all")
    parser.add_argument("--sample", type=int, default=200, help="faults of each room (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copy = Path(place) / "repository"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", ".*", "runs", "site"))
        if (ROOT.parent / "shared").is_dir():  # real audio that some tests need
            (copy.parent / "shared").symlink_to((ROOT.parent / "shared").resolve())
        for room in given.room or ROOMS:
            tried, noticed, _ = score(room, given.sample, given.seed, copy)
            say(f"| {room} | {tried} | {noticed} | {noticed / max(tried, 1):.0%} |")


if __name__ == "__main__":
    main()
