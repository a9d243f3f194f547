"""Measure what models cost."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json
from embcomp.storage.places import named


@click.command()
@click.argument("models", nargs=-1, required=True, type=common.INPUT, metavar="MODEL...")
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    help="For students: eager, compiled, onnx, onnx-int8, tflite, tflite-int8 or executorch; repeatable.  [default: all]",
)
@click.option("--repeats", default=30, show_default=True, type=click.IntRange(1), help="Measurements of each.")
@click.option("--out", type=common.FILE, help="CSV file to write, too.")
@common.threads_option
@json_option
def profile(
    models: tuple[Path, ...], runtimes: tuple[str, ...], repeats: int, out: Path | None, threads: int, as_json: bool
) -> None:
    """Measure size and speed of students and of exported files in one table.

    Latencies are medians and 95th percentiles for clips of full length, one at a time and 64 at once: of the network
    alone for students, with the front end for exported files. The last column, seconds of audio per second, is
    with the front end for both.

    \b
    Example:
      embcomp profile student student.onnx
    """
    from embcomp.engines.local import set_threads
    from embcomp.export.profile import HEADER, RUNTIMES, as_csv, as_table
    from embcomp.export.profile import profile as measure
    from embcomp.storage.files import write_text
    from embcomp.storage.ownership import check_file

    if out is not None:
        check_file(out, "table of `embcomp profile`", lambda head: head.startswith(HEADER))
    set_threads(threads)
    rows = measure(
        models,
        runtimes=runtimes or RUNTIMES,
        repeats=repeats,
        threads=threads,
        progress=lambda text: click.echo(f"  {text}", err=True),
    )
    if out is not None:
        write_text(out, as_csv(rows))
    if as_json:
        print_json({"models": rows, "out": out})
        return
    click.echo(as_table(rows), nl=False)
    if out is not None:
        click.echo(f"table: {named(out)}", err=True)
