"""Fit a compressor."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("store", type=common.FOLDER)
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
@common.seed_option
@common.threads_option
def compress(
    store: Path,
    manifest: Path | None,
    method: str,
    objective: str,
    dim: int,
    out: Path,
    splits,
    seed: int,
    threads: int,
) -> None:
    """Fit a compressor on the embeddings in STORE.

    \b
    Example:
      embcomp compress embeddings --manifest train.csv --dim 64 --out compressor
    """
    from embcomp.config import CompressorConfig
    from embcomp.data.labels import encode
    from embcomp.engines.local import set_threads
    from embcomp.errors import ArtifactError, ConfigError, StoreError
    from embcomp.storage.store import EmbeddingStore
    from embcomp.training.distill import fit_compressor

    set_threads(threads)
    if out.exists():
        raise ArtifactError(f"{out} already exists; delete it or choose another --out")
    if manifest is None and splits:
        raise ConfigError("--split selects clips of a manifest; add --manifest FILE")
    needs_labels = method == "lda" or (method in ("linear", "mlp") and objective != "reconstruction")
    if manifest is None and needs_labels:
        raise ConfigError(
            f"--method {method} --objective {objective} needs labels; add --manifest FILE, or use --objective reconstruction"
        )
    opened = EmbeddingStore.open(store)
    labels, ids = None, opened.ids
    if manifest is not None:
        chosen = common.read_manifest(manifest, splits)
        labels, ids = encode(chosen.labels), chosen.ids
    rows = opened.rows(ids)
    if not len(rows):
        raise StoreError(f"{store} holds no embeddings to fit a compressor on; embed some clips first")
    fitted = fit_compressor(
        CompressorConfig(method, objective, dim), opened.take(ids), labels, [opened.hashes[row] for row in rows], seed
    )
    fitted.save(out)
    click.echo(f"{opened.dim} to {fitted.n_components_} dimensions, fitted on {len(ids)} clips: {out}")
