"""Whole comparisons: run and demo."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("config", type=common.MANIFEST, required=False)
@click.option(
    "--from", "source", type=common.FOLDER, help="Do this finished run again instead, and compare the scores."
)
@common.set_option
@common.out_option
@common.allow_outside_option
def run(
    config: Path | None, overrides: tuple[str, ...], out: Path, source: Path | None = None, allow_outside: bool = False
) -> None:
    """Compare the variants that CONFIG (TOML) lists, over seeds and folds.

    What stands in --out is not computed again: after an interruption the same
    command goes on. With --from RUN the run there is repeated from its saved
    settings; the exit code is 3 where a score differs.
    """
    from embcomp import config as settings

    if (config is None) == (source is None):
        raise click.UsageError("give one CONFIG, or the folder of a finished run with --from")
    trusted = ("data.allow_outside=true",) if allow_outside else ()
    if source is not None:
        _repeat(source, out, (*overrides, *trusted))
    else:
        _compare(settings.load(config, (*overrides, *trusted)), out)


@click.command()
@click.option("--out", default="demo", show_default=True, type=common.FOLDER, help="Folder to write.")
@common.set_option
def demo(out: Path, overrides: tuple[str, ...]) -> None:
    """Render two small SYNTHETIC sound sets and compare every way on them.

    Eight families of sounds, recorded as it were under two conditions: students
    learn from the first and are tested on unseen instruments of it and on all of
    the second.
    """
    from embcomp import config as settings
    from embcomp.demo import CONFIG, render

    with common.bar(544, "render") as shown:
        sets = render(out / "sounds", progress=lambda done, total: shown.update(done - shown.n))
    click.echo(
        f"Two sets of synthetic sounds (no recordings; scores on them say nothing about real audio): {sets.home} {sets.abroad}",
        err=True,
    )
    config = settings.load(CONFIG, overrides)
    _compare(replace(config, data=replace(config.data, root=str(out / "sounds"))), out / "run")


def _repeat(source: Path, out: Path, overrides: tuple[str, ...]) -> None:
    from embcomp.pipeline.repeat import repeat

    found = repeat(source, out, overrides, common.stage_progress())
    for change in found.changes:
        click.echo(f"  {change}", err=True)
    if found.clips:
        click.echo(f"  {found.clips} clips are not what they were, or only one of the runs has them", err=True)
    if found.added:
        click.echo(f"  {found.added} rows of scores are new", err=True)
    if found.same:
        click.echo(f"the same scores: {found.compared} numbers agree to the digit")
        return
    if len(found.differing):
        worst = found.differing.loc[found.differing["difference"].idxmax()]
        place = ", ".join(f"{name} {worst[name]}" for name in ("variant", "setting", "test_dataset", "metric", "seed"))
        click.echo(
            f"{len(found.differing)} of {found.compared} numbers differ, by {found.largest:.6g} at most: "
            f"{worst['column']} of {place}: {worst['before']} then, {worst['now']} now"
        )
    if found.missing:
        click.echo(f"{found.missing} rows of scores did not come out again")
    sys.exit(3)


def _compare(config, out: Path) -> None:
    from embcomp.pipeline import run as compare
    from embcomp.report import table_lines

    common.check_device(config.device)
    result = compare(config, out, common.stage_progress())
    click.echo(f"balanced accuracy, {len(config.seeds)} seeds: mean ± deviation [95 % interval over groups]")
    for line in table_lines(result.summary):
        click.echo(line)
    if result.bad:
        click.echo(f"{len(result.bad)} unusable clips left out:", err=True)
        for clip in result.bad:
            click.echo(f"  {clip}", err=True)
    for name, count in result.cut.items():
        if count:
            click.echo(
                f"{count} clips of {name} are longer than audio.seconds = {config.audio.seconds:g} and were cut",
                err=True,
            )
    if result.made:
        click.echo(f"{result.made} stages made, {result.stood} stood already", err=True)
    else:
        click.echo(f"nothing to do: all {result.stood} stages stand", err=True)
    click.echo(f"scores.csv, report.html and more: {result.folder}", err=True)
