"""Every pair of data sets."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json, rows
from embcomp.storage.places import named


@click.command()
@click.argument("config", type=common.INPUT)
@click.argument("manifests", nargs=-1, required=True, type=common.MANIFEST)
@common.set_option
@common.out_option
@json_option
def matrix(config: Path, manifests: tuple[Path, ...], overrides: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Train on each of MANIFESTS and test on all of them, with the settings of CONFIG (TOML).

    With three or more manifests, students are also trained on all sets but one and
    tested on that one. Only labels that all sets share are used, after
    data.label_map. Results already in --out are reused.

    \b
    Example:
      embcomp matrix config.toml a.csv b.csv c.csv --out runs/matrix
    """
    from embcomp.config import load
    from embcomp.pipeline.matrix import matrix as compare

    result = compare(load(config, overrides), manifests, out, common.stage_progress())
    if as_json:
        about = {"classes": result.classes, "left_out": result.left_out, "folder": result.folder}
        print_json({"scores": rows(result.scores)} | about)
        return
    click.echo((result.folder / "matrix.md").read_text(encoding="utf-8"), nl=False)
    click.echo(f"matrix.csv, matrix.md and a folder per row: {named(result.folder)}", err=True)
