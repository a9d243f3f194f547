"""What the tutorials show runs: their commands, their Python and their files, in the order of the page, on a few tiny sounds."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from embcomp.cli import group
from embcomp.demo.folders import render_folders

ROOT = Path(__file__).resolve().parents[2]
FIRST = ROOT / "docs/index.md"
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
OTHERS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "recipes").glob("**/README.md"))]
# Why a block may not be run here.
REASONS = {"needs a download", "needs a microphone", "runs until it is stopped"}
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]*?) -->\n)?(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<body>.*?)^ *```$",
    re.M | re.S,
)
# What makes a command quick; nobody reads the scores.
QUICK = {
    "run": "--set training.steps=4 --set seeds=[0] --set workers=1 --set evaluation.bootstrap=20 --set audio.n_mels=24",
    "distill": "--set training.steps=4",
    "sweep": "--folds 3",
}
SMALL_TEACHER = " --set teacher.centroids=16 --set teacher.patches=2000 --set teacher.whitened=16"
SOUNDS = {"clips": 48, "other_clips": 16, "pool_clips": 16}

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    title: str | None
    body: str
    reason: str | None
    line: int


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(one["language"], one["title"], one["body"], one["reason"], text[: one.start()].count("\n") + 1)
        for one in BLOCK.finditer(text)
    ]


def lines(block: Block) -> list[str]:
    """Commands of a block: a backslash at the end of a line joins it with the next."""
    joined = block.body.replace("\\\n", " ").splitlines()
    return [line for line in joined if shlex.split(line, comments=True)]


def check_options(line: str) -> None:
    """That every word of an `embcomp` line which starts with a dash is an option of that command."""
    words, command = shlex.split(line.split(" > ")[0].split(" | ")[0], comments=True)[1:], group
    context = click.Context(group, info_name="embcomp")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command, words = command.get_command(context, words[0]), words[1:]
        assert command is not None, f"no such command: {line}"
        context = click.Context(command, info_name=command.name, parent=context)
    if words and words != ["--help"]:
        command.make_parser(context).parse_args(list(words))


def call(line: str, folder: Path) -> None:
    """One command: embcomp's in this process, what else there is in a shell."""
    words = shlex.split(line.replace("$PWD", str(folder)), comments=True)
    if words[0] == "embcomp":
        words += QUICK.get(words[1], "").split()
        if words[1] in ("run", "embed") and not {"vectors", "python"} & set(re.findall(r"\w+", line)):
            words += SMALL_TEACHER.split()
        try:
            group.main(words[1:], standalone_mode=False)
        except SystemExit as end:
            assert not end.code, line
        return
    if words[0] == "cc" and shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    if words[0] == "python":
        words[0] = sys.executable
        words[1] = str(ROOT / words[1])
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_blocks_are_found():
    assert len(PAGES) == 9 and all(any(one.language == "bash" for one in blocks(page)) for page in PAGES)
    for page in PAGES:
        assert page.read_text(encoding="utf-8").count("```") == 2 * len(blocks(page)), page.name
        assert {one.reason for one in blocks(page) if one.reason} <= REASONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs(page, tmp_path, monkeypatch):
    if "onnx" in page.read_text(encoding="utf-8"):
        for package in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(package)
    for name, count in SOUNDS.items():
        monkeypatch.setitem(render_folders.__kwdefaults__, name, count)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("embcomp.transfer.METHODS", __import__("embcomp.transfer").transfer.METHODS)
    names: dict = {"__name__": page.stem}
    before = set(sys.modules)
    try:
        for block in blocks(page):
            if block.title:
                Path(block.title).write_text(block.body, encoding="utf-8")
            elif block.reason:
                for line in lines(block):
                    if line.startswith("embcomp "):
                        check_options(line)
            elif block.language == "bash":
                for line in lines(block):
                    call(line, tmp_path)
            elif block.language == "python":
                exec(compile(block.body, f"{page.name}:{block.line}", "exec"), names)
                # numpy has an `empty`, too, which says nothing of it.
                assert not [name for name, value in names.items() if getattr(value, "empty", False) is True], page.name
    finally:
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(sys.modules[name].__file__):
                del sys.modules[name]


def test_the_first_page_shows_commands_of_a_tutorial():
    def shown(page: Path) -> set[str]:
        found = [line for one in blocks(page) if one.language == "bash" for line in lines(one)]
        return {" ".join(shlex.split(line, comments=True)) for line in found}

    assert len(shown(FIRST)) >= 5 and shown(FIRST) <= shown(ROOT / "docs/tutorials/folder.md")


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_commands_shown_elsewhere_have_these_options(page):
    text = re.sub(r"\\\n", " ", page.read_text(encoding="utf-8"))
    for line in re.findall(r"^(?:    )?(embcomp (?!COMMAND).*)$", text, re.M):
        check_options(line)
