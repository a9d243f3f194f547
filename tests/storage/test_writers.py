"""Of two machines that write to one URL the second is refused, and goes on where the first has died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import click
import pytest
from helpers.remotes import contents, fresh_cache

from embcomp.cli import common
from embcomp.errors import BusyError, EmbcompWarning, RemoteError
from embcomp.storage import remote, writers
from embcomp.storage.files import write_text
from embcomp.storage.outputs import into_results, results_at, writing_to
from embcomp.storage.ownership import mark_results
from embcomp.storage.remote import WRITER


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Become another machine: one with an empty cache, or the one of that name again, with what it holds."""
    monkeypatch.setattr(remote, "PAUSE", 0)
    held: dict[str, dict] = {}

    def become(name):
        fresh_cache(tmp_path / name, monkeypatch)
        monkeypatch.setattr(writers, "_held", held.setdefault(name, {}))

    return become


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path, machine) -> str:
    machine("first")
    return f"file://{tmp_path}/there" if request.param == "file" else f"memory://{uuid.uuid4().hex}/there"


def mark_of(url: str) -> dict:
    return json.loads(remote.read(f"{url}/{WRITER}"))


def rewrite(url: str, **parts) -> None:
    remote.write(json.dumps({**mark_of(url), **parts}).encode(), f"{url}/{WRITER}")


def crash(url: str, **parts) -> None:
    """Leave the mark of a machine that has died."""
    with writing_to(url):
        mark = mark_of(url)
    remote.write(json.dumps({**mark, **parts}).encode(), f"{url}/{WRITER}")


class Watch:
    """A clock that only moves while somebody waits, and what happens then."""

    def __init__(self, monkeypatch, happens=lambda: None):
        self.now, self.happens = 0.0, happens
        monkeypatch.setattr(writers.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(writers.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.happens()


def test_a_second_machine_is_refused_until_the_first_has_ended(url, machine):
    with results_at(url) as out:
        mark_results(out, "run")
        mark = mark_of(url)
        assert mark["process"] == os.getpid() and set(mark) == {
            *("writer", "host", "process", "machine", "began", "beats")
        }
        machine("second")
        message = rf"{url} is being written by '.*', process {os.getpid()}, since .* UTC; .* delete {url}/\.writer"
        with pytest.raises(BusyError, match=message) as caught, results_at(url):
            pass
        assert "\n" not in str(caught.value)
        assert mark_of(url) == mark
        machine("first")
        with results_at(url):  # another process of the same machine, which the locks of the folder are for
            pass
    assert sorted(contents(url)) == ["embcomp.json"]
    machine("second")
    with results_at(url) as out:
        assert (out / "embcomp.json").is_file()


def test_readers_do_not_see_the_mark(url):
    with results_at(url) as out:
        mark_results(out, "run")
        assert list(remote.listing(url)) == ["embcomp.json"]
        assert WRITER in contents(url)


def test_nothing_is_left_of_a_call_that_failed(url):
    with pytest.raises(ZeroDivisionError), results_at(url):
        raise ZeroDivisionError
    assert contents(url) == {} and remote.look(url) is None


def test_a_dead_process_of_this_machine_is_taken_over_at_once(url, machine, monkeypatch):
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, timeout=60
    )
    crash(url, process=int(done.stdout))
    machine("second")
    watch = Watch(monkeypatch)
    with results_at(url) as out:
        mark_results(out, "run")
    assert sorted(contents(url)) == ["embcomp.json"] and watch.now == 0


@pytest.mark.parametrize("process", [1, 2**30])
def test_another_machine_is_taken_over_after_it_gave_no_sign_of_life(url, machine, monkeypatch, process):
    crash(url, process=process, machine="another")
    machine("second")
    watch = Watch(monkeypatch)
    with pytest.warns(EmbcompWarning, match=r"mark of '.*', .*: waiting up to 150 s"), results_at(url) as out:
        mark_results(out, "run")
    assert sorted(contents(url)) == ["embcomp.json"] and watch.now == writers.GONE


@pytest.mark.parametrize("beats", [2, 3])
def test_another_machine_that_gives_a_sign_of_life_is_left_alone(url, machine, monkeypatch, beats):
    crash(url, process=2**30, machine="another", beats=1)
    machine("second")
    watch = Watch(monkeypatch, lambda: watch.now > writers.GONE - 10 and rewrite(url, beats=beats))
    with pytest.warns(EmbcompWarning), pytest.raises(BusyError, match="is being written by"), results_at(url):
        pass
    assert mark_of(url)["beats"] == beats and watch.now < writers.GONE


def test_a_writer_that_ends_while_it_is_watched_makes_room(url, machine, monkeypatch):
    crash(url, process=2**30, machine="another")
    machine("second")
    watch = Watch(monkeypatch, lambda: remote.remove(f"{url}/{WRITER}"))
    with pytest.warns(EmbcompWarning), results_at(url) as out:
        mark_results(out, "run")
    assert sorted(contents(url)) == ["embcomp.json"] and watch.now == writers.PAUSE


def test_whoever_was_taken_over_uploads_nothing_more_and_leaves_the_others_mark(url, machine):
    message = f"{url} was taken over by '.*', process .*; what is finished is kept here"
    with pytest.raises(RemoteError, match=message), results_at(url) as out:
        mark_results(out, "run")
        (hold,) = writers._held.values()
        before = mark_of(url)["beats"]
        writers._look_again(hold)  # as is done every now and then
        assert mark_of(url)["beats"] == before + 1 and not hold.lost
        rewrite(url, writer="another", host="elsewhere")
        writers._look_again(hold)
        write_text(out / "scores.csv", "mine")
    assert mark_of(url)["host"] == "elsewhere" and sorted(contents(url)) == [WRITER, "embcomp.json"]
    assert (out / "scores.csv").read_text() == "mine"


def test_of_two_that_begin_in_the_same_moment_one_is_refused(url, machine, monkeypatch):
    real = remote.write

    def another_is_faster(content, place):
        real(content, place)
        real(json.dumps({**json.loads(content), "writer": "another"}).encode(), place)

    monkeypatch.setattr(remote, "write", another_is_faster)
    with pytest.raises(BusyError, match="began in the same moment"), results_at(url):
        pass
    assert not writers._held


DAMAGED = {
    "empty": b"",
    "a list": b"[]",
    "a word": b'{"began": "yesterday"}',
    "no number": b'{"began": "", "process": 1, "beats": null, "writer": "a"}',
    "deep": b"[" * 60_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_mark_is_named(url, content):
    remote.write(content, f"{url}/{WRITER}")
    message = "writer.json does not say who writes there; where nobody does, remove that file"
    with pytest.raises(BusyError, match=message), writing_to(url):
        pass


def test_functions_and_commands_that_write_to_a_url_hold_it_and_let_it_go(url):
    @into_results
    def make(name, out, *, more=0):
        assert mark_of(url)["process"] == os.getpid() and out.name == "there"
        return name, more

    assert make("a", url, more=2) == ("a", 2) and make("b", out=url) == ("b", 0)
    assert not writers._held and contents(url) == {}

    @click.group()
    def group():
        pass

    @group.command()
    @common.out_option
    @click.option("--number", type=int)
    def command(out, number):
        assert mark_of(url)["process"] == os.getpid()

    group(["command", "--out", url, "--number", "1"], standalone_mode=False)
    with pytest.raises(click.BadParameter):
        group(["command", "--out", url, "--number", "x"], standalone_mode=False)
    assert not writers._held and contents(url) == {}
