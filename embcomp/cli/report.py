"""A page that shows what runs found."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--out",
    default="report.html",
    show_default=True,
    type=common.MANIFEST,
    help="Page to write (.html), or Markdown (.md).",
)
@click.option("--latency/--no-latency", default=True, show_default=True, help="Time each student on this machine.")
def report(runs: tuple[Path, ...], out: Path, latency: bool) -> None:
    """Show what RUN found as one page that needs nothing else, and the same as Markdown beside it.

    RUN is the folder of `embcomp run` or `embcomp sweep`, or a table of scores
    (scores.csv, a recipe's results.csv), from which only a part can be shown;
    several are shown side by side.
    """
    from embcomp.report import write_report

    for path in write_report(runs, out, latency=latency):
        click.echo(path)
