"""Fit a compressor on a store: the library call behind ``embcomp compress``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embcomp.compression import Compressor
from embcomp.compression.parameters import needs_labels
from embcomp.compression.spread import check_spread, fit_spread
from embcomp.config import CompressorConfig
from embcomp.data.labels import Labels, encode
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, StoreError
from embcomp.storage.artifact import CONFIG, WEIGHTS
from embcomp.storage.outputs import into_results
from embcomp.storage.ownership import advice, kind_of, strangers
from embcomp.storage.vectors import matched, open_vectors


def fit_compressor(
    config: CompressorConfig,
    vectors: Any,
    labels: Labels | None,
    hashes: Sequence[str],
    seed: int,
    start_only: bool = False,
) -> Compressor:
    """Fit a compressor as `config` describes it.

    Parameters
    ----------
    vectors : ndarray of shape (n, D), or rows that are read block by block
    labels : Labels, or None
        None suits objectives that need no label.
    hashes : sequence of str
        Content hashes of the clips, kept in the artifact as what it has seen.
    start_only : bool, default=False
        The closed-form start, without training.
    """
    options = {"epochs": 0} if start_only else {}
    return _unfitted(config, seed, **options).fit(vectors, _target(labels), ids=hashes)


def _unfitted(config: CompressorConfig, seed: int, **options: Any) -> Compressor:
    return Compressor(config.dim, method=config.method, objective=config.objective, random_state=seed, **options)


def _target(labels: Labels | None) -> Any:
    return None if labels is None else (labels.matrix if labels.multi_label else labels.index)


@into_results
def compress(
    store: str | os.PathLike,
    out: str | os.PathLike,
    *,
    manifest: Manifest | None = None,
    config: CompressorConfig | None = None,
    splits: Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    engine: str = "local",
    threads: int = 1,
) -> Compressor:
    """Fit a compressor on stored embeddings and save it.

    Parameters
    ----------
    store : path
        Of embeddings of shape (n, D), or a file of them; see `embcomp.storage.vectors.open_vectors`.
    out : path
        Folder of the compressor; must not exist, or be empty.
    manifest : Manifest, optional
        Labels; the compressor is then fitted on its clips alone. Without it, on all rows.
    config : CompressorConfig, optional
    splits : sequence of str
        Use only clips of the manifest with one of these values in the column split; empty: all.
    seed : int, default=0
    workers : int, optional
        Processes that share the rows, where the compressor is fitted by their moments: the method is ``identity``, ``random``,
        ``pca``, ``lda``, or ``linear`` with objective ``reconstruction``. 0 is one per free core, of a cluster one per
        core. The compressor has the same bytes with any number, and an interrupted call goes on from the sums that are
        there. By default this process does it all, whatever the method.
    engine : {"local", "ray"}
        Where they run.
    threads : int, default=1
        Of each worker's numeric libraries.

    Returns
    -------
    Compressor

    Raises
    ------
    ArtifactError
        `out` exists.
    ConfigError
        The method needs labels and there is no manifest, is unknown, or workers cannot share it.
    StoreError
        There is no store, it is empty, or it lacks a clip of the manifest.
    """
    config = config or CompressorConfig()
    if Path(out).exists() and not (Path(out).is_dir() and not strangers(out)):
        mend = advice(out, "compressor", (CONFIG, WEIGHTS))
        raise ArtifactError(f"{out} already exists ({kind_of(out) or 'not of embcomp'}); {mend}")
    if manifest is None and needs_labels(asdict(config)):
        raise ConfigError(
            f"--method {config.method} --objective {config.objective} needs labels; "
            "add --manifest FILE, or use --objective reconstruction"
        )
    shared = workers is not None or engine != "local"
    if shared:
        check_spread(_unfitted(config, seed)._checked_params(), engine)
    opened = open_vectors(store, None if manifest is None else manifest.ids)
    labels, ids = None, opened.ids  # of a store in shards they stay on disk
    if manifest is not None:
        opened, chosen = matched(opened, manifest.ids), manifest.with_splits(splits)
        labels, ids = encode(chosen.labels, check=False), chosen.ids
    if not len(ids):
        raise StoreError(f"{store} holds no embeddings to fit a compressor on; embed some clips first")
    hashes = opened.hashes if manifest is None else [opened.hashes[row] for row in opened.rows(ids)]
    if shared:
        fitted = fit_spread(
            _unfitted(config, seed),
            opened.vectors(ids),
            _target(labels),
            hashes,
            out,
            workers=workers or 0,
            engine=engine,
            threads=threads,
        )
    else:
        fitted = fit_compressor(config, opened.vectors(ids), labels, hashes, seed)
    fitted.save(out)
    return fitted
