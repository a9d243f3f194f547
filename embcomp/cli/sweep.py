"""Find the size of the target."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


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
@click.argument("store", type=click.Path(path_type=Path))
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
@common.seed_option
@common.threads_option
def sweep(store: Path, manifest: Path, dims, methods: str, margin: float, folds: int, out: Path, splits, seed, threads):
    """Measure every compression method at every size and recommend the smallest that is good enough.

    STORE is a store, or a .npy, .npz or .parquet file of embeddings. Writes
    curve.csv and curve.png to --out.

    \b
    Example:
      embcomp sweep embeddings --manifest train.csv --out sweep
    """
    from embcomp.data.labels import encode
    from embcomp.engines.local import set_threads
    from embcomp.errors import MissingDependencyError
    from embcomp.evaluation.dimension import dimension_curve, plot_curve, recommend
    from embcomp.storage.files import write_text
    from embcomp.teachers import StoredTeacher

    set_threads(threads)
    chosen = common.read_manifest(manifest, splits)
    vectors = StoredTeacher(store, common.read_manifest(manifest, ())).rows(chosen.ids)
    labels = encode(chosen.labels)
    with common.bar(1, "sweep") as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        curve = dimension_curve(
            vectors,
            labels.matrix if labels.multi_label else labels.index,
            chosen.groups,
            dims,
            methods.split(","),
            folds=folds,
            seed=seed,
            progress=progress,
        )
    write_text(out / "curve.csv", curve.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    try:
        plot_curve(curve, out / "curve.png", margin)
    except MissingDependencyError as error:
        click.echo(f"no plot: {error}", err=True)
    click.echo(str(recommend(curve, margin)))
    click.echo(f"curve.csv, curve.png: {out}", err=True)
