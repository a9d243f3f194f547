"""Compress a store."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("compressor", type=common.FOLDER)
@click.argument("store", type=common.FOLDER)
@common.out_option
def apply(compressor: Path, store: Path, out: Path) -> None:
    """Compress every embedding in STORE with COMPRESSOR.

    \b
    Example:
      embcomp apply compressor embeddings --out targets
    """
    import embcomp

    target = embcomp.apply(compressor, store, out)
    click.echo(f"{len(target)} targets of {target.dim} dimensions: {out}")
