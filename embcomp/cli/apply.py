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
    import numpy as np

    from embcomp.compression import Compressor
    from embcomp.errors import StoreError
    from embcomp.storage.files import file_hash
    from embcomp.storage.store import EmbeddingStore, write_store

    fitted, source = Compressor.load(compressor), EmbeddingStore.open(store)
    if source.dim != fitted.n_features_in_:
        raise StoreError(
            f"{store} holds {source.dim} dimensions, {compressor} was fitted on {fitted.n_features_in_}; "
            "apply it to embeddings of the same teacher"
        )
    settings = {
        "compressor": file_hash(compressor / "weights.safetensors"),
        "method": f"{fitted.method}/{fitted.objective}",
        "source": source.settings,
    }

    def produce(rows: np.ndarray) -> np.ndarray:
        return fitted.transform(source.take([source.ids[row] for row in rows]))

    target = write_store(out, source.ids, source.hashes, fitted.n_components_, settings, produce, batch_size=4096)
    click.echo(f"{len(target)} targets of {target.dim} dimensions: {out}")
