"""The live table of a run: what it shows, when it is quiet, and that it says what it needs."""

from __future__ import annotations

import io
import sys

import pytest

from embcomp.cli.watching import Stage, Watch, clock
from embcomp.errors import MissingDependencyError

rich = pytest.importorskip("rich")


def printed(watch) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=100, color_system=None).print(watch.table())
    return text.getvalue()


def test_rows_say_what_is_done_and_what_is_left(monkeypatch):
    now = [0.0]
    watch = Watch(clock=lambda: now[0])
    watch("students", 2, 10)  # two were there
    now[0] = 30.0
    watch("students", 5, 10)
    assert watch.stages["students"].left == pytest.approx(50.0)  # 10 s each
    now[0] = 35.0
    (row,) = [line for line in printed(watch).splitlines() if "students" in line]
    assert row.split()[-4:] == ["5", "10", "0:35", "0:50"]


def test_a_stage_that_is_over_has_nothing_left_and_its_time_stands():
    now = [0.0]
    watch = Watch(clock=lambda: now[0])
    watch("probes", 0, 1)
    now[0] = 4.0
    watch("probes", 1, 1)
    now[0] = 400.0
    (row,) = [line for line in printed(watch).splitlines() if "probes" in line]
    assert row.split()[-3:] == ["1", "1", "0:04"]


def test_before_anything_was_made_nothing_is_foretold():
    assert Stage(0.0, 9.0, 3, 3, 8).left is None


def test_names_of_data_sets_are_no_markup():
    watch = Watch(clock=lambda: 0.0)
    watch("check [red]mine[/red]", 0, 2)
    assert "check [red]mine[/red]" in printed(watch)


def test_without_a_terminal_there_are_lines(capsys):
    with Watch() as watch:
        watch("students", 0, 2)
        watch("students", 2, 2)
    assert capsys.readouterr().err == "  students: 2 done\n"


def test_in_a_terminal_the_table_is_drawn(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Watch() as watch:
        watch("students", 2, 2)
    assert "students" in screen.getvalue()


def test_without_rich_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.live", None)
    with pytest.raises(MissingDependencyError, match=r"rich: pip install -e '\.\[watch\]'"):
        Watch()


def test_hours_are_shown_where_there_are_some():
    assert [clock(seconds) for seconds in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]
