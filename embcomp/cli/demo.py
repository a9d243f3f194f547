"""Compare methods on synthetic sound sets."""

from __future__ import annotations

from pathlib import Path

import click

import embcomp
from embcomp.cli import common
from embcomp.cli.run import run_and_print


@click.command()
@click.option("--out", default="demo", show_default=True, type=common.FOLDER, help="Output folder.")
@click.option(
    "--sounds",
    type=common.FOLDER,
    help="Only render small folders of sounds here, to try the other commands on: sounds/CLASS, other/CLASS and pool.",
)
@common.set_option
def demo(out: Path, sounds: Path | None, overrides: tuple[str, ...]) -> None:
    """Generate small SYNTHETIC sound sets and compare methods on them.

    Two sets have the same eight classes, recorded under different conditions.
    Students are trained on the first set and tested on unseen instruments of it and
    on all of the second. A third set, of other instruments and without labels, is
    what the teacher has learned from besides, and what it teaches with.

    \b
    Example:
      embcomp demo --out demo
      embcomp demo --sounds .
    """
    if sounds is not None:
        _render_folders(sounds)
        return
    settings = Path(embcomp.__file__).parent / "demo" / "demo.toml"  # found without what renders sounds
    run_and_print(settings, list(overrides), out / "run", root=out / "sounds", prepare=lambda: _render(out / "sounds"))


def _render(folder: Path) -> None:
    from embcomp.demo import POOL_CLIPS, render

    with common.bar(1, "render") as shown:
        sets = render(folder, pool_clips=POOL_CLIPS, progress=common.progress_of(shown))
    click.echo(
        "synthetic sounds (not recordings; scores on them say nothing about real audio): "
        f"{sets.plain} {sets.shifted} {sets.pool}",
        err=True,
    )


def _render_folders(folder: Path) -> None:
    from embcomp.demo.folders import render_folders

    with common.bar(1, "render") as shown:
        places = render_folders(folder, progress=common.progress_of(shown))
    click.echo("synthetic sounds (not recordings): " + " ".join(map(str, places)), err=True)
