"""Help lists what the registries hold."""

from __future__ import annotations

import importlib

import pytest
from click.testing import CliRunner

from embcomp.config.choices import SECTIONS, keys_of


@pytest.mark.parametrize(
    ("command", "section"), [("embed", "teacher"), ("distill", "transfer"), ("distill", "student")]
)
def test_help_lists_every_choice_with_its_settings(command, section):
    function = getattr(importlib.import_module(f"embcomp.cli.{command}"), command)
    done = CliRunner().invoke(function, ["--help"], terminal_width=200)
    assert done.exit_code == 0
    for name, choice in SECTIONS[section].classes.items():
        assert f"  {name} " in done.output and choice.summary[:30] in done.output
        for key in keys_of(choice):
            assert f"{key}=" in done.output
