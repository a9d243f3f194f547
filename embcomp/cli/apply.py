"""Compress a store."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.errors import counted
from embcomp.storage.places import named


@click.command()
@click.argument("compressor", type=common.MODEL)
@click.argument("store", type=common.INPUT)
@click.option("--manifest", type=common.MANIFEST, help="Ids of the rows of a file that has none.")
@common.dtype_option
@common.out_option
@common.workers_option
@common.engine_option
def apply(
    compressor: Path,
    store: Path,
    manifest: Path | None,
    dtype: str,
    out: Path,
    workers: int | None,
    engine: str | None,
) -> None:
    """Compress every embedding in STORE with COMPRESSOR.

    STORE is a store, or a file of embeddings as for compress. A file without ids
    takes those of --manifest; without it, rows are called by their numbers. A store
    in shards gives one: start the command several times, and they share the shards.
    --workers shares the rows, of a store in shards the shards, among processes, 1 by
    default; with --engine ray, all of the cluster.

    \b
    Example:
      embcomp apply compressor embeddings --out targets
    """
    import embcomp

    ids = None if manifest is None else embcomp.Manifest.read(manifest).ids
    target = embcomp.apply(compressor, store, out, ids, dtype, workers=workers, engine=engine or "local")
    click.echo(f"{counted(len(target), 'target')} of {counted(target.dim, 'dimension')}: {named(out)}")
