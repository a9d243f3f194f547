"""Every data set against every other."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("config", type=common.MANIFEST)
@click.argument("manifests", nargs=-1, required=True, type=common.MANIFEST)
@common.set_option
@common.out_option
def matrix(config: Path, manifests: tuple[Path, ...], overrides: tuple[str, ...], out: Path) -> None:
    """Train on each of MANIFESTS and test on all, as CONFIG (TOML) says.

    With three or more, each set is also left out once and tested by students of all the others. Labels are
    those all sets share, after data.label_map. What stands in --out is not computed again.
    """
    from embcomp import config as settings
    from embcomp.pipeline.matrix import matrix as compare

    resolved = settings.load(config, overrides)
    common.check_device(resolved.device)
    result = compare(resolved, manifests, out, common.stage_progress())
    click.echo((result.folder / "matrix.md").read_text(encoding="utf-8"), nl=False)
    click.echo(f"matrix.csv, matrix.md and a folder per row: {result.folder}", err=True)
