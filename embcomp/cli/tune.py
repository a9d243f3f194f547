"""Choose settings by validation score."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json, rows
from embcomp.storage.places import named


@click.command()
@click.argument("config", type=common.INPUT)
@click.option("--search", multiple=True, metavar="KEY=LOW..HIGH", help="A setting and what to try; repeatable.")
@click.option(
    "--trials", default=20, show_default=True, type=click.IntRange(1), help="How many, earlier calls included."
)
@click.option("--variant", default="", metavar="NAME", help="Which variant of the file.")
@common.set_option
@common.out_option
@common.seed_option
@json_option
def tune(
    config: Path,
    search: tuple[str, ...],
    trials: int,
    variant: str,
    overrides: tuple[str, ...],
    out: Path,
    seed: int,
    as_json: bool,
) -> None:
    """Try settings of a variant in CONFIG (TOML) and keep those with the best validation score.

    What may change is written KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=ONE|TWO|THREE. Test clips
    are not scored: run the tuned.toml that is written for that. A call that was interrupted
    goes on when it is repeated. Needs optuna (extra tune).

    \b
    Example:
      embcomp tune config.toml --search transfer.weight=0.1..1:log --out tuned
      embcomp run tuned/tuned.toml --out runs/tuned
    """
    import embcomp

    found = embcomp.tune(
        config,
        out,
        search,
        trials=trials,
        variant=variant,
        overrides=overrides,
        seed=seed,
        report=lambda text: click.echo(text, err=True),
    )
    if as_json:
        about = {"best": found.best, "value": found.value, "before": found.before, "importance": found.importance}
        print_json(about | {"trials": rows(found.trials), "folder": found.folder})
        return
    click.echo((found.folder / "report.md").read_text(encoding="utf-8"), nl=False)
    click.echo(f"tuned.toml, trials.csv, report.md: {named(found.folder)}", err=True)
