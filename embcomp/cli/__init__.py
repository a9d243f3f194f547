"""The command line: each command is imported when it is called, so that ``--help`` loads nothing heavy."""

from __future__ import annotations

import importlib
import os
import signal
import sys

import click

from embcomp import __version__
from embcomp.errors import AudioError, EmbcompError, nearest

COMMANDS = {
    "demo": "Render two synthetic sound sets and compare all ways on them.",
    "run": "Compare variants as a TOML file describes, over seeds and folds.",
    "matrix": "Train on every data set, test on every other.",
    "embed": "Turn the clips of a manifest into embeddings.",
    "sweep": "Say how small the target may be.",
    "compress": "Fit a compressor on a store of embeddings.",
    "apply": "Compress a store with a fitted compressor.",
    "distill": "Train a small student.",
    "evaluate": "Score a student on manifests.",
    "report": "Show what runs found as one page.",
    "predict": "Label audio files with a student.",
    "doctor": "Say whether embcomp works here, and what to mend.",
}
MODULES = {  # the others are single steps
    "demo": "runs",
    "run": "runs",
    "matrix": "matrix",
    "sweep": "sweep",
    "report": "report",
    "predict": "predict",
    "doctor": "doctor",
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports them on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"embcomp.cli.{MODULES.get(name, 'steps')}")
        return getattr(module, name)

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
    """Compress a teacher's embeddings, teach a small student, say how well it does."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends the work as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def main() -> None:
    """Entry point: what is wrong with the input is told in words, with exit code 2; an interruption with 130 or 143."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        group(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EmbcompError as error:
        click.echo(f"error: {error}", err=True)
        if isinstance(error, AudioError) and len(error.bad) > 1:
            click.echo(f"({len(error.bad)} clips named above; nothing was written)", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as end:
        # Once is enough: a second signal must not cut the message short.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        terminated = isinstance(end, _Terminated) or isinstance(end.__context__, _Terminated)
        word, code = ("terminated", 143) if terminated else ("interrupted", 130)
        click.echo(f"\n{word}; finished stages are kept, the same command goes on from there", err=True)
        sys.exit(code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
