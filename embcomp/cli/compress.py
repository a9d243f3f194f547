"""Fit a compressor."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.errors import counted
from embcomp.storage.places import named


@click.command()
@click.argument("store", type=common.INPUT)
@click.option(
    "--manifest",
    type=common.MANIFEST,
    help="Labels, needed by lda and by the objectives task and both; only its clips are used.",
)
@click.option("--method", default="linear", show_default=True, help="A wrong name lists all.")
@click.option("--objective", default="task", show_default=True, help="A wrong name lists all.")
@click.option("--dim", default=64, show_default=True, type=click.IntRange(1), help="Dimensions of the target.")
@common.out_option
@common.split_option
@common.group_column_option
@common.seed_option
@common.threads_option
@common.workers_option
@common.engine_option
def compress(
    store: Path,
    manifest: Path | None,
    method: str,
    objective: str,
    dim: int,
    out: Path,
    splits,
    group_column: str,
    seed: int,
    threads: int,
    workers: int | None,
    engine: str | None,
) -> None:
    """Fit a compressor on the embeddings in STORE.

    STORE is a store, or a file of embeddings: .npy, .npz, .parquet, .csv, .h5, or
    a folder with a .npy file for each clip. --workers shares the rows of a store among
    processes, where the compressor is fitted by their means and covariances: methods
    pca, lda, random and identity, and linear with --objective reconstruction.

    \b
    Example:
      embcomp compress embeddings --manifest train.csv --dim 64 --out compressor
    """
    import embcomp
    from embcomp.config import CompressorConfig
    from embcomp.engines.local import set_threads
    from embcomp.errors import ConfigError

    set_threads(threads)
    if manifest is None and splits:
        raise ConfigError("--split selects clips of a manifest; add --manifest FILE")
    clips = None if manifest is None else embcomp.Manifest.read(manifest, group_column=group_column)
    config = CompressorConfig(method, objective, dim)
    fitted = embcomp.compress(
        store,
        out,
        manifest=clips,
        config=config,
        splits=splits,
        seed=seed,
        workers=workers,
        engine=engine or "local",
        threads=threads,
    )
    click.echo(
        f"{fitted.n_features_in_} to {counted(fitted.n_components_, 'dimension')}, fitted on {counted(fitted.n_samples_, 'clip')}: {named(out)}"
    )
