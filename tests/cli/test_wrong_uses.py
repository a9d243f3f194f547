"""Wrong uses of commands: one message that names what is wrong and what to write instead, and exit code 2."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from embcomp.cli import group
from embcomp.errors import EmbcompError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of somebody else's, with an empty file."""
    found = tmp_path_factory.mktemp("mine")
    (found / "empty.csv").touch()
    (found / "typo.toml").write_text("[trainning]\nsteps = 3\n", encoding="utf-8")
    return found


@pytest.mark.parametrize(
    "words, message",
    [
        (["evaluate", "{0}", "{0}/empty.csv", "--out", "{0}/s.csv"], "as CSV: it is empty"),
        (["export", "{0}", "--to", "onnx", "--out", "{0}/s.onnx"], "no student, teacher or compressor at {0}: the folder has no config.json"),
        (["card", "{0}"], "no student or compressor at {0}: the folder has no config.json"),
        (["card", "{0}/none"], "at {0}/none: the folder does not exist"),
        (["profile", "{0}/empty.csv"], "at {0}/empty.csv: that is a file"),
        (["serve", "{0}"], "no student at {0}: the folder has no config.json"),
        (["embed", "{0}/empty.csv", "--teacher", "kmeans", "--out", "{0}/e"], "as CSV: it is empty"),
        (["run", "{0}/typo.toml", "--out", "{0}/r"], "did you mean 'training'"),
        (["plan", "{0}/typo.toml", "--clips", "many", "--seconds", "1"], "'many' is no whole number; write 10000000 or 10_000_000"),
        (["run", "{0}/typo.toml", "--out", "{0}/r", "--wach"], "--watch"),
        (["matrix", "{0}/typo.toml"], "Missing argument"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_named(folder, words, message):
    done = CliRunner().invoke(group, [word.format(folder) for word in words])
    said = str(done.exception) if isinstance(done.exception, EmbcompError) else done.output
    assert done.exit_code and isinstance(done.exception, (EmbcompError, SystemExit)), done.exception
    assert message.format(folder) in said
    assert sorted(path.name for path in folder.iterdir()) == ["empty.csv", "typo.toml"]


def test_the_shell_is_given_completions():
    """As docs/terminal.md says to set it up."""
    environment = {"_EMBCOMP_COMPLETE": "bash_complete", "COMP_WORDS": "embcomp sugg", "COMP_CWORD": "1"}
    done = CliRunner().invoke(group, prog_name="embcomp", env=environment)
    assert done.exit_code == 0 and done.output.split() == ["plain,suggest"]
