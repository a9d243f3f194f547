"""Join stores, and exchange them with other programs."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json
from embcomp.storage.places import named

STORES = common.INPUT


@click.group()
def store() -> None:
    """Join stores of embeddings or targets, show them, and write or read Parquet files and Lance tables.

    A store in shards is used as any other, by compress, apply and distill; its rows and ids stay on disk.

    \b
    Example:
      embcomp store merge embeddings/part1 embeddings/part2 --out embeddings/all
      embcomp store export embeddings/all --out all.parquet
    """


@store.command()
@click.argument("stores", nargs=-1, required=True, type=STORES, metavar="STORE...")
@click.option("--copy", is_flag=True, help="Copy the rows; by default they stay where they are, and are referred to.")
@common.out_option
def merge(stores: tuple[Path, ...], copy: bool, out: Path) -> None:
    """Join stores of different clips, made in the same way, to one in shards.

    The order of the stores is that of the rows.
    """
    from embcomp.storage.merging import merge_stores

    with common.bar(0, "rows") as shown:
        found = merge_stores(stores, out, copy=copy, progress=shown.update)
    click.echo(f"{len(found):,} rows of {found.dim} dimensions in {len(found.ids.parts)} shards: {named(out)}")


@store.command()
@click.argument("path", type=STORES, metavar="STORE")
@json_option
def info(path: Path, as_json: bool) -> None:
    """Print how many rows a store has, of what, and where its shards are."""
    import json

    from embcomp.storage.shards import is_sharded
    from embcomp.storage.store import EmbeddingStore

    found = EmbeddingStore.open(path)
    shards = []
    if is_sharded(path):
        shards = [{"rows": len(part), "path": place} for place, part in zip(found.data.paths, found.ids.parts)]
    if as_json:
        about = {"rows": len(found), "dim": found.dim, "dtype": found.data.dtype, "shards": shards}
        print_json(about | {"settings": found.settings})
        return
    click.echo(f"{len(found):,} rows of {found.dim} dimensions, {found.data.dtype}")
    for one in shards:
        click.echo(f"  {one['rows']:,} rows: {one['path']}")
    click.echo(json.dumps(found.settings, indent=1, ensure_ascii=False))


@store.command("export")
@click.argument("path", type=STORES, metavar="STORE")
@click.option("--out", required=True, type=common.OUT_FILE, help="Lance table to write, NAME.lance, or Parquet file.")
def export_(path: Path, out: Path) -> None:
    """Write a store as a Parquet file, or as a Lance table, with the columns id, hash and embedding."""
    from embcomp.storage.exchange import export_store

    with common.bar(0, "rows") as shown:
        count = export_store(path, out, shown.update)
    click.echo(f"{count:,} rows: {named(out)}")


@store.command("import")
@click.argument("files", nargs=-1, required=True, type=STORES, metavar="FILE...")
@click.option("--per-shard", default=1_000_000, show_default=True, type=click.IntRange(1), help="Rows of a shard.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    help="Of the stored numbers.  [default: as exported, or float32]",
)
@common.out_option
def import_(files: tuple[Path, ...], per_shard: int, dtype: str | None, out: Path) -> None:
    """Write Parquet files or Lance tables with a column of ids and one of vectors as a store in shards."""
    from embcomp.storage.exchange import import_tables

    with common.bar(0, "rows") as shown:
        found = import_tables(files, out, dtype=dtype, per_shard=per_shard, progress=shown.update)
    click.echo(f"{len(found):,} rows of {found.dim} dimensions in {len(found.ids.parts)} shards: {named(out)}")
