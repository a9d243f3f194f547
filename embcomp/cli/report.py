"""Report finished runs."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("runs", nargs=-1, required=True, type=common.INPUT, metavar="RUN...")
@click.option(
    "--out",
    default="report.html",
    show_default=True,
    type=common.OUT_FILE,
    help="Page to write (.html), or Markdown (.md).",
)
@click.option(
    "--latency/--no-latency",
    default=True,
    show_default=True,
    help="Measure the latency of each student on this machine.",
)
def report(runs: tuple[Path, ...], out: Path, latency: bool) -> None:
    """Write the results of RUN as one self-contained HTML page, and as Markdown next to it.

    RUN is the output folder of `embcomp run` or `embcomp sweep`, or a table of
    scores (scores.csv, a recipe's results.csv), which gives a shorter report.
    Several runs are shown side by side.

    \b
    Example:
      embcomp report runs/mine --out report.html
    """
    from embcomp.report import write_report

    for path in write_report(runs, out, latency=latency):
        click.echo(path)
