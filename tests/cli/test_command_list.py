"""Every command is one file and one line of the list, with help that shows how to call it."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from embcomp import cli
from embcomp.cli import COMMANDS, group

FOLDER = Path(cli.__file__).parent


def command_of(name: str) -> click.Command:
    return group.get_command(click.Context(group), name)


def examples(name: str) -> list[str]:
    """The calls of a command that its help shows."""
    return re.findall(r"^ +(embcomp .+)$", help_of(name).split("Example:")[-1], re.M)


def help_of(name: str) -> str:
    done = CliRunner().invoke(group, [name, "--help"])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_list_and_the_files_name_the_same_commands():
    modules = {path.stem: importlib.import_module(f"embcomp.cli.{path.stem}") for path in FOLDER.glob("[!_]*.py")}
    found = {name for name, module in modules.items() if isinstance(getattr(module, name, None), click.Command)}
    assert found == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_called_as_its_file(name):
    assert command_of(name).name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_parses(name):
    calls = [shlex.split(line) for line in examples(name)]
    assert name in [used for _, used, *_ in calls]
    for _, used, *arguments in calls:
        command = command_of(used)
        if isinstance(command, click.Group) and arguments:  # the example is of one of its commands
            command = command.get_command(click.Context(command), arguments.pop(0))
        command.make_context(used, arguments)  # parses the options and runs nothing


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    command = command_of(name)
    context = click.Context(command)
    members = (
        [command.get_command(context, one) for one in command.list_commands(context)]
        if isinstance(command, click.Group)
        else []
    )
    options = [one for part in (command, *members) for one in part.params if isinstance(one, click.Option)]
    assert options and not [one.name for one in options if not one.help]


def test_the_help_of_all_commands_is_listed():
    shown = CliRunner().invoke(group, ["--help"]).output
    for name, about in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(about[:40])}", shown, re.M), name
        assert about[0].isupper() and about.endswith(".") and len(about) < 80


def test_adding_a_command_touches_its_own_file_and_the_list(monkeypatch, tmp_path):
    """One new file and one new entry are enough: for the list, for help, for a typing error and for a call."""
    (tmp_path / "greet.py").write_text(
        '"""Greet."""\n\nimport click\n\n\n@click.command()\n@click.argument("whom")\ndef greet(whom):\n'
        '    """Greet WHOM."""\n    click.echo(f"hello {whom}")\n'
    )
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    monkeypatch.setitem(COMMANDS, "greet", "Greet somebody.")
    run = CliRunner().invoke
    assert "Greet somebody." in run(group, ["--help"]).output
    assert "Greet WHOM." in run(group, ["greet", "--help"]).output
    assert run(group, ["greet", "you"]).output == "hello you\n"
    assert "did you mean 'greet'" in run(group, ["gret"]).output
    monkeypatch.delitem(sys.modules, "embcomp.cli.greet")
    monkeypatch.delattr(cli, "greet")
