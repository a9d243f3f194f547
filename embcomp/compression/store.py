"""Compress a whole store with a saved compressor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embcomp.compression.compressor import Compressor
from embcomp.errors import StoreError, choose

if TYPE_CHECKING:
    from embcomp.storage.store import EmbeddingStore

BATCH = 4096  # rows multiplied at once


def apply(
    compressor: str | os.PathLike[str],
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    ids: Sequence[str] | None = None,
    dtype: str = "float32",
    *,
    workers: int | None = None,
    engine: str = "local",
    threads: int = 1,
) -> EmbeddingStore:
    """Compress every row of a store.

    Parameters
    ----------
    compressor : path
        Saved by `Compressor.save`.
    store : path
        Of embeddings of shape (n, D), or a file of them; see `embcomp.storage.vectors.open_vectors`.
    out : path
        Store of targets of shape (n, d) to write; an interrupted call continues when repeated. Of a store in shards it has
        the same shards, which several processes with the same arguments write side by side.
    ids : sequence of str, optional
        Of the rows of a file that has none; otherwise they are called by their numbers, from 0 on.
    dtype : {"float32", "float16"}
        Of the stored numbers.
    workers : int, optional
        Processes that share the rows, of a store in shards the shards; 0 is one per free core, of a cluster one per core.
        The targets have the same bytes with any number. By default this process does it all, as it does where vectors are
        in memory.
    engine : {"local", "ray"}
        Where they run.
    threads : int, default=1
        Of each worker's numeric libraries.

    Returns
    -------
    EmbeddingStore

    Raises
    ------
    StoreError
        The store has another dimension than the compressor was fitted on, or `out` is another store.
    ArtifactError
        There is no compressor at `compressor`, or it is damaged.
    ConfigError
        There is no such engine.
    """
    from embcomp.engines import ENGINES
    from embcomp.storage.outputs import results_at

    choose("engine", engine, ENGINES)
    with results_at(out) as folder:
        return _apply(compressor, store, folder, ids, dtype, workers, engine, threads)


def _apply(
    compressor: str | os.PathLike[str],
    store: str | os.PathLike[str],
    out: Path,
    ids: Sequence[str] | None,
    dtype: str,
    workers: int | None,
    engine: str,
    threads: int,
) -> EmbeddingStore:
    from embcomp.compression.sharded import apply_shards
    from embcomp.compression.spread_rows import spread_rows
    from embcomp.engines import open_engine
    from embcomp.storage.bringing import brought
    from embcomp.storage.files import file_hash
    from embcomp.storage.shards import is_sharded
    from embcomp.storage.store import EmbeddingStore, write_store
    from embcomp.storage.taught import keep, kept, together
    from embcomp.storage.vectors import open_vectors

    store, compressor = brought(store), brought(compressor)
    fitted, source = Compressor.load(compressor), open_vectors(store, ids)
    if source.dim != fitted.n_features_in_:
        raise StoreError(
            f"{store} holds {source.dim} dimensions, {compressor} was fitted on {fitted.n_features_in_}; "
            "apply it to embeddings of the same teacher"
        )
    settings: dict[str, Any] = {
        "compressor": file_hash(Path(compressor, "weights.safetensors")),
        "method": f"{fitted.method}/{fitted.objective}",
        "source": source.settings,
    }

    taught = together(kept(source.path), fitted._fitted().ids)
    shared = workers is not None or engine != "local"
    crew = open_engine(engine, workers or 0, threads) if shared else nullcontext()
    if is_sharded(store):
        with crew as opened:
            return apply_shards(fitted, source, out, settings, dtype, taught, opened, compressor)

    # Not through the memory map: pages of all rows would count as this process's memory.
    read = source.reader(source.ids) if type(source) is EmbeddingStore and source.frames == 1 else None

    def produce(rows: np.ndarray) -> np.ndarray:
        vectors = read(rows) if read is not None else source.take([source.ids[row] for row in rows])
        return fitted.transform(vectors)

    with crew as opened:
        spread = None if opened is None else spread_rows(opened, compressor, source, out)
        written = write_store(
            out,
            source.ids,
            source.hashes,
            fitted.n_components_,
            settings,
            produce,
            batch_size=BATCH,
            dtype=dtype,
            spread=spread,
        )
    keep(written.path, taught)
    return written
