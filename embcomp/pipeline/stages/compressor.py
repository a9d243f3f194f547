"""A compressor fitted on the embeddings of a split's fit clips and, where it needs no label, of unlabelled clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from embcomp.compression.tree import LEAF
from embcomp.config import VariantConfig
from embcomp.pipeline.stages.base import Job, RunContext
from embcomp.pipeline.stages.pools import Learner, pools_for
from embcomp.pipeline.workspace import Split
from embcomp.storage.arrays import scratch_rows
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.training.compress import fit_compressor

BLOCK = 4096  # vectors held at once
VERSION = 1  # raised when another compressor comes of the same inputs


@dataclass(frozen=True)
class CompressorJob(Job):
    """The compressor of one variant.

    Attributes
    ----------
    variant : str
    split : str
        Key.
    embedding : str
        Path of the embeddings of the data set trained on.
    unlabelled : list of str
        Paths of those of the sets of which unlabelled clips are learned from, where the compressor needs no label.
    path : str
    """

    variant: str
    split: str
    embedding: str
    unlabelled: list[str]
    path: str

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [self.path]


def compressor_path(
    context: RunContext, variant: VariantConfig, split: Split, embedding: Path, pools: list[str]
) -> Path:
    """Where the compressor of a variant lies, fitted on the fit clips of a split and on unlabelled clips, by their keys."""
    source = context.source
    made_of = [
        VERSION,
        embedding.name,
        split.fit,
        fingerprint([source.manifest.labels[row] for row in source.rows(split.fit)]),
        split.hidden,
        split.classes,
        split.seed,
        asdict(variant.compressor),
        variant.transfer.joint,
    ]
    # Without such sets the key is that of runs of before there were any.
    return context.space.stage("compressors", fingerprint(made_of + pools))


def compressor_job(context: RunContext, variant: VariantConfig, split: Split, embeddings: list[Path]) -> CompressorJob:
    """The job that fits the compressor of a variant.

    Parameters
    ----------
    embeddings : list of Path
        Of the data sets, the first of which is trained on, then of the unlabelled sets.
    """
    pools = pools_for(context, variant, Learner.COMPRESSOR, split)
    unlabelled = [embeddings[pool.number] for pool in pools]
    keys = [pool.key(embeddings) for pool in pools]
    if len(split.fit) + sum(len(pool.ids) for pool in pools) > LEAF:
        keys.append("tree")  # sums of so many rows were once added in another order
    path = compressor_path(context, variant, split, embeddings[0], keys)
    return CompressorJob(
        **context.job_fields,
        variant=variant.name,
        split=split.key,
        embedding=str(embeddings[0]),
        unlabelled=list(map(str, unlabelled)),
        path=str(path),
    )


def make_compressor(**fields) -> None:
    """Fit what a `CompressorJob` asks for."""
    job = CompressorJob(**fields)
    context = job.context()
    variant, split, source = context.variant(job.variant), context.space.load_split(job.split), context.source
    parts = [(EmbeddingStore.open(job.embedding), split.fit)]
    hashes = [source.hash_of[clip] for clip in split.fit]
    for pool, path in zip(pools_for(context, variant, Learner.COMPRESSOR, split), job.unlabelled):
        parts.append((EmbeddingStore.open(path), pool.ids))
        hashes += pool.hashes
    fitted = fit_compressor(
        variant.compressor,
        _vectors(parts, context.space.folder),
        None if job.unlabelled else split.labels(source, split.fit),
        hashes,
        split.seed,
        start_only=variant.transfer.joint,
    )
    fitted.save(job.path)


def _vectors(parts: list[tuple[EmbeddingStore, list[str]]], folder: Path) -> np.ndarray:
    """The vectors of all clips, part by part; with unlabelled clips, which may be many, on disk."""
    (first, ids), *more = parts
    if not more:
        return first.take(ids)
    blocks = (store.take(ids[start : start + BLOCK]) for store, ids in parts for start in range(0, len(ids), BLOCK))
    return scratch_rows(blocks, first.dim, folder)
