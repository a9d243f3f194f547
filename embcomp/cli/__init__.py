"""The command line. A command is imported when it is called, so that ``--help`` loads nothing heavy."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys

import click

from embcomp import __version__
from embcomp.cli.notes import NOTES, notes_shown
from embcomp.errors import AudioError, EmbcompError, nearest, why
from embcomp.storage.places import shown

# To add a command, add it here and put a function of the same name into embcomp/cli/NAME.py, with "_" for "-".
COMMANDS = {
    "demo": "Compare methods on synthetic sounds.",
    "init": "Write a manifest and settings for a first run from a folder of sounds.",
    "manifest": "Make a manifest from folders, tables, annotations or a published data set.",
    "validate": "Check a manifest before a run.",
    "run": "Compare variants over seeds and folds, as a TOML file describes.",
    "plan": "Reckon what a run of many clips takes: time, memory, disk and cost.",
    "tune": "Choose settings by validation score, with Optuna.",
    "matrix": "Train on each data set and test on all of them.",
    "teachers": "List, download and check teachers.",
    "embed": "Compute a teacher's embeddings of the clips in a manifest.",
    "store": "Join stores of embeddings to one in shards; write and read Parquet files.",
    "sweep": "Find how many dimensions the target needs.",
    "compress": "Fit a compressor on stored embeddings.",
    "apply": "Compress stored embeddings with a fitted compressor.",
    "distill": "Train a student.",
    "evaluate": "Score a student on labelled clips.",
    "export": "Write a trained model as one file for another runtime.",
    "card": "Write a model card beside a student or compressor.",
    "profile": "Measure size and speed of students and exported files.",
    "report": "Write a report of finished runs as one HTML page.",
    "show": "Draw a clip, a store, a run or a student, with clips to listen to.",
    "predict": "Label audio files with a student.",
    "suggest": "Choose clips that are worth a label.",
    "review": "Label clips by ear on a local page.",
    "serve": "Answer audio over HTTP with labels as JSON.",
    "demo-page": "Write a web page that labels sounds in the browser.",
    "listen": "Label what a microphone records.",
    "doctor": "Check that embcomp works on this machine.",
}


class LazyGroup(click.Group):
    """Lists its commands by name and imports them on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        name = name.replace("-", "_")
        return getattr(importlib.import_module(f"embcomp.cli.{name}"), name)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            raise click.UsageError(f"no such command {args[0]!r}; {nearest(args[0], COMMANDS)}") from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="embcomp")
def group() -> None:
    """Compress a teacher's embeddings, train a small student and measure how well it does.

    \b
    Example:
      embcomp demo
    """
    context = click.get_current_context()
    context.meta[NOTES] = context.with_resource(notes_shown())


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends the work as Ctrl-C does."""


_signalled: list[int] = []


def _interrupt(number: int, frame: object) -> None:
    # Kept, too: compiled code may make another error of the exception.
    _signalled.append(number)
    raise _Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _end_interrupted() -> None:
    # A second signal must not cut the message short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    word, code = ("terminated", 143) if signal.SIGTERM in _signalled else ("interrupted", 130)
    click.echo(f"\n{word}; finished work is kept: run the same command again to continue", err=True)
    sys.exit(code)


def _in_utf8() -> None:
    """Start this program again in UTF-8 mode where the locale has fewer letters than names of files and classes may need.

    Python does so itself unless ``PYTHONUTF8=0`` or a locale such as Latin-1 keeps it from it.
    """
    arguments = sys.argv[1:]
    own = sys.orig_argv[len(sys.orig_argv) - len(arguments) :] == arguments  # not a program that calls `main`
    if os.name != "posix" or sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode or not own:
        return
    # What is printed stays in the terminal's encoding.
    said = {"PYTHONIOENCODING": os.environ.get("PYTHONIOENCODING") or sys.stdout.encoding}
    with contextlib.suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1", **said})


def _end_failed(error: Exception) -> None:
    """Say in a line what is wrong, and exit; a mistake of the program's is raised again."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if isinstance(error, EmbcompError):
        said = str(error)
    elif isinstance(error, OSError):  # a disk, a folder or a network
        said = (f"{error.filename}: " if error.filename is not None else "") + why(error)
    elif isinstance(error, MemoryError):
        said = "memory ran out; close other programs, or work on less at a time"
    else:
        raise error
    click.echo(f"error: {shown(said)}", err=True)
    if isinstance(error, AudioError) and len(error.bad) > 1:
        click.echo(f"({len(error.bad)} clips named above; nothing was written)", err=True)
    sys.exit(2)


def main() -> None:
    """Entry point. Exit codes: 2 for bad input, 130 or 143 for an interruption; an error is one message, no traceback."""
    _in_utf8()
    _signalled.clear()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as in the background
        signal.signal(signal.SIGINT, _interrupt)
    # A class or a file may have a name that the terminal cannot encode; that must not lose finished work.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")
    try:
        group(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end_interrupted()
    except Exception as error:
        if _signalled:
            _end_interrupted()
        _end_failed(error)
