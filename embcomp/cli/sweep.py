"""Find the size of the target."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json, rows
from embcomp.storage.places import named


def _sizes(context: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"sizes are whole numbers separated by commas, not {text!r}") from None
    if min(sizes) < 1:
        raise click.BadParameter("sizes start at 1")
    return sizes


@click.command()
@click.argument("store", type=common.INPUT)
@click.option("--manifest", required=True, type=common.MANIFEST, help="Labels and groups.")
@click.option("--dims", callback=_sizes, metavar="2,4,8,...", help="Sizes to try.  [default: powers of two]")
@click.option(
    "--methods",
    default="random,pca,lda,linear,mlp",
    show_default=True,
    help="Compression methods to try, separated by commas.",
)
@click.option("--margin", default=0.02, show_default=True, help="Accepted loss of score against the full embedding.")
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2), help="Folds, split by group.")
@common.out_option
@common.split_option
@common.group_column_option
@common.seed_option
@common.threads_option
@json_option
def sweep(
    store: Path,
    manifest: Path,
    dims,
    methods: str,
    margin: float,
    folds: int,
    out: Path,
    splits,
    group_column: str,
    seed: int,
    threads: int,
    as_json: bool,
) -> None:
    """Measure every compression method at every size and recommend the smallest that is good enough.

    STORE is a store, or a file of embeddings: .npy, .npz, .parquet, .csv, .h5, or
    a folder with a .npy file for each clip. Writes curve.csv and curve.png to --out.

    \b
    Example:
      embcomp sweep embeddings --manifest train.csv --out sweep
    """
    import embcomp
    from embcomp.engines.local import set_threads

    set_threads(threads)
    with common.bar(1, "sweep") as shown:
        found = embcomp.sweep(
            store,
            embcomp.Manifest.read(manifest, group_column=group_column),
            out,
            splits=splits,
            dims=dims,
            methods=methods.split(","),
            margin=margin,
            folds=folds,
            seed=seed,
            progress=common.progress_of(shown),
        )
    if found.no_plot:
        click.echo(f"no plot: {found.no_plot}", err=True)
    if as_json:
        print_json({"recommendation": found.recommendation, "curve": rows(found.curve), "folder": out})
        return
    click.echo(str(found.recommendation))
    click.echo(f"curve.csv, curve.png: {named(out)}", err=True)
