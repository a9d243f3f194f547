"""What students get of a data set: log-mels, also of test clips changed on purpose, rows of a table, or images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from embcomp.audio.features import Features, compute_features
from embcomp.audio.shifts import Shift, ShiftedClips, parse_shift
from embcomp.errors import StoreError
from embcomp.pipeline.inputs import inputs_of
from embcomp.pipeline.stages.base import Job, RunContext
from embcomp.pipeline.workspace import Dataset
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.students.arrays import ArrayFeatures, store_inputs

VERSION = 1  # raised when other log-mels come of the same inputs
SHIFT_VERSION = 1


@dataclass(frozen=True)
class FeaturesJob(Job):
    """The inputs of one data set.

    Attributes
    ----------
    number : int
        Which of `RunContext.sets`.
    shift : str
        How the clips are changed, see `embcomp.audio.shifts`; empty where they are not.
    path : str
    """

    number: int
    shift: str
    path: str

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [self.path]


def features_path(context: RunContext, dataset: Dataset, shift: str = "") -> Path:
    """Where the inputs of a data set lie, or the log-mels of its clips changed by `shift`."""
    config = context.config
    settings = [VERSION, dataset.audio_key, context.input_settings, *precision(context, dataset)]
    if not shift:
        return context.space.stage("features", fingerprint(settings))
    # In a folder of their own: among the others they would pass for log-mels of the same clips.
    changed = [SHIFT_VERSION, asdict(parse_shift(shift, config.audio)), config.evaluation.seed]
    return context.space.stage("shifted", fingerprint([settings, changed]))


def precision(context: RunContext, dataset: Dataset) -> list[str]:
    """What keys take in of the numbers in which the inputs of a set are kept: nothing of float32."""
    dtype = context.dtype_of(dataset)
    return [dtype] if dtype != "float32" else []


def inputs_version() -> list[int]:
    """What keys of all that is made of the inputs take in: nothing for the first version, whose runs are kept."""
    return [VERSION] if VERSION > 1 else []


def shift_key(context: RunContext, shift: Shift) -> str:
    """Key of a change of clips, in the names of predictions."""
    made_by = [context.config.evaluation.seed, SHIFT_VERSION]
    # The first seed and version count for nothing, so that the predictions of earlier runs are found.
    return fingerprint(asdict(shift) if made_by == [0, 1] else [asdict(shift), *made_by])


def features_job(context: RunContext, number: int, shift: str = "") -> FeaturesJob:
    """The job that makes the inputs of a data set."""
    path = features_path(context, context.sets[number], shift)
    return FeaturesJob(**context.job_fields, number=number, shift=shift, path=str(path))


def make_features(**fields) -> None:
    """Compute what a `FeaturesJob` asks for."""
    job = FeaturesJob(**fields)
    context, path = job.context(), Path(job.path)
    dataset, audio = context.sets[job.number], context.config.audio
    if context.config.data.inputs != "audio":
        rows = inputs_of(dataset.manifest, context.config.data, dataset.whole.ids)
        if rows.keys(dataset.manifest.ids) != list(dataset.hashes):
            raise StoreError(f"{rows.path} changed while it was in use; run again")
        store_inputs(rows, dataset.manifest.ids, list(dataset.hashes), path)
        return
    clips, reuse = context.clips(dataset), path.parent
    if job.shift:
        changed = parse_shift(job.shift, audio)
        seed = context.config.evaluation.seed
        clips, reuse = ShiftedClips(**vars(clips), shift=changed, seed=seed), None
    compute_features(clips, list(dataset.hashes), audio, path, reuse=reuse, dtype=context.dtype_of(dataset))


def stored_features(context: RunContext, dataset: Dataset, shift: str = "") -> Features | ArrayFeatures:
    """Inputs that `make_features` wrote."""
    store = EmbeddingStore.open(features_path(context, dataset, shift))
    return (
        Features(store, context.config.audio.n_mels) if context.config.data.inputs == "audio" else ArrayFeatures(store)
    )
