"""A compressor fitted on the embeddings of a split's fit clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from embcomp.config import VariantConfig
from embcomp.pipeline.stages.base import Job, RunContext
from embcomp.pipeline.workspace import Split
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.training.compress import fit_compressor

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
    path : str
    """

    variant: str
    split: str
    embedding: str
    path: str

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [self.path]


def compressor_path(context: RunContext, variant: VariantConfig, split: Split, embedding: Path) -> Path:
    """Where the compressor of a variant lies, fitted on the fit clips of a split."""
    source = context.source
    key = fingerprint(
        [
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
    )
    return context.space.stage("compressors", key)


def compressor_job(context: RunContext, variant: VariantConfig, split: Split, embedding: Path) -> CompressorJob:
    """The job that fits the compressor of a variant."""
    path = compressor_path(context, variant, split, embedding)
    return CompressorJob(
        **context.job_fields, variant=variant.name, split=split.key, embedding=str(embedding), path=str(path)
    )


def make_compressor(**fields) -> None:
    """Fit what a `CompressorJob` asks for."""
    job = CompressorJob(**fields)
    context = job.context()
    variant, split, source = context.variant(job.variant), context.space.load_split(job.split), context.source
    fitted = fit_compressor(
        variant.compressor,
        EmbeddingStore.open(job.embedding).take(split.fit),
        split.labels(source, split.fit),
        [source.hash_of[clip] for clip in split.fit],
        split.seed,
        start_only=variant.transfer.joint,
    )
    fitted.save(job.path)
