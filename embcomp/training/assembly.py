"""One student from its parts: what it learns from is put together, trained on and saved here, and nowhere else.

`embcomp.training.distill` gathers the parts from a manifest, `embcomp.pipeline.stages.student` from a run's folder.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from embcomp.audio.features import Features
from embcomp.compression import Compressor
from embcomp.config import AudioConfig, VariantConfig, to_dict
from embcomp.data.inputs import InputSpec
from embcomp.data.labels import Labels
from embcomp.distributed import current
from embcomp.errors import ConfigError
from embcomp.storage.arrays import scratch_rows
from embcomp.storage.seen import Seen
from embcomp.storage.store import HELD, EmbeddingStore
from embcomp.students.arrays import ArrayFeatures, FileFeatures
from embcomp.students.classifier import Classifier
from embcomp.training.examples import Drawable, Examples, Streamed, joined
from embcomp.training.loop import TrainingResult, train
from embcomp.training.tracking import TRACKERS, Tracker, flat
from embcomp.transfer import Source, build_transfer

# Bytes of features that are read once, of labelled clips and of others each; of more, each batch is read when it is drawn.
IN_MEMORY = 64 << 20
BLOCK = 1 << 16  # clips whose vectors are read at once where all of them would be too many


OF_TRAINING = ("teacher", "compressor", "transfer", "student", "training")  # sections whose settings a tracker gets


@dataclass(frozen=True)
class Part:
    """Clips of one data set, by name.

    Attributes
    ----------
    ids, hashes : sequence of str
        Of n clips.
    features : Features, ArrayFeatures or FileFeatures
        What students get of these clips, perhaps among others.
    embeddings : EmbeddingStore or None
        Vectors of these clips, perhaps among others: raw ones, or targets compressed beforehand.
    labels : Labels or None
        None where the clips have no labels.
    """

    ids: Sequence[str]
    hashes: Sequence[str]
    features: Features | ArrayFeatures | FileFeatures
    embeddings: EmbeddingStore | None = None
    labels: Labels | None = None

    def select(self, rows: np.ndarray) -> Part:
        """The clips `rows`."""
        labels = None if self.labels is None else self.labels.select(rows)
        ids, hashes = ([names[row] for row in rows] for names in (self.ids, self.hashes))
        return Part(ids, hashes, self.features, self.embeddings, labels)

    def examples(self, like: Labels) -> Examples:
        """What a student gets of these clips; without labels, of the classes of `like` and all unknown."""
        return Examples(*self.features.load(list(self.ids)), self._labels(like))

    def streamed(self, like: Labels) -> Streamed:
        """The same, read from disk batch by batch."""
        return Streamed(self.features.reader(list(self.ids)), self._labels(like))

    def given(self, like: Labels, held: bool) -> Examples | Streamed:
        """The same, held in memory or read batch by batch."""
        return self.examples(like) if held else self.streamed(like)

    def _labels(self, like: Labels) -> Labels:
        if self.labels is not None:
            return self.labels
        unknown = np.full((len(self.ids), len(like.classes)), np.nan, dtype=np.float32)
        return Labels(like.classes, unknown, like.multi_label)


@dataclass(frozen=True)
class Lesson:
    """What one student is trained from.

    Attributes
    ----------
    fit, validation : Part
        Labelled, or partly.
    views : sequence of Part
        Changed versions of the clips of `fit`, all of them in the same order, and the vectors of these versions.
    unlabelled : sequence of Part
        Further clips that take part in the transfer loss alone; none where the method learns from no cached vector.
    compressor : Compressor, optional
        Turns the embeddings of all parts into targets; with the joint schedule, where its training starts from.
        None where the embeddings are targets already, or are used as they are.
    teacher : callable, optional
        For a method that runs its teacher at every step: row numbers among the clips of `fit` that are used, which
        `used` gives, to embeddings.
    taught : Seen, optional
        Clips that the vectors of the parts, or the teacher, were learned from, where they come from outside of a run.
    """

    fit: Part
    validation: Part
    unlabelled: Sequence[Part] = ()
    compressor: Compressor | None = None
    teacher: Callable[[np.ndarray], np.ndarray] | None = None
    views: Sequence[Part] = ()
    taught: Seen | None = None


def used(variant: VariantConfig, fit: Part) -> Part:
    """The clips that a variant learns from: without a teacher, one without a label has nothing to say."""
    return fit.select(np.flatnonzero(fit.labels.labelled)) if variant.transfer.source == Source.NONE else fit


def train_student(
    variant: VariantConfig,
    audio: AudioConfig,
    lesson: Lesson,
    out: str | os.PathLike,
    *,
    about: dict[str, Any],
    seed: int,
    device: str = "cpu",
    checkpoint: str | os.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
    timed: bool = False,
    tracking: str | os.PathLike | None = None,
) -> Classifier:
    """Assemble targets, train a student and save it with its history.

    Of several processes that train it together, the first one saves it.

    Parameters
    ----------
    variant : VariantConfig
        Its transfer, student and training sections decide.
    audio : AudioConfig
        How the features were made; kept with the student.
    lesson : Lesson
    out : path
        Folder to write.
    about : dict
        Provenance to keep with the student.
    checkpoint, progress
        See `embcomp.training.loop.train`.
    timed : bool, default=False
        Save how long it took and how it validated, too; without, the same training writes the same bytes.
    tracking : path, optional
        Folder for what ``training.log`` writes; by default beside `out`, as ``OUT.log``.

    Raises
    ------
    ConfigError
        The method needs embeddings, a compressor or a teacher and got none; or there are not as many views as the
        training is to have.
    """
    started = time.perf_counter()
    fit = used(variant, lesson.fit)
    views = [used(variant, view) for view in lesson.views]
    if len(views) != variant.training.views:
        raise ConfigError(
            f"training.views is {variant.training.views}, and the clips come in {len(views)} views; a run makes them"
        )
    pools = list(lesson.unlabelled) if variant.transfer.cached else []
    parts, held = [fit, *views, *pools], _held([fit, lesson.validation], device)
    # What has no label may be far more than memory holds, and views are several times the labelled clips.
    few = _bytes(parts[1:]) <= IN_MEMORY
    others = [part.given(fit.labels, few) for part in parts[1:]]
    examples = joined([fit.given(fit.labels, held), *others])
    targets, start = _targets(variant, parts, lesson.compressor, Path(out).absolute().parent)
    with _tracker(variant, about, seed, Path(tracking or f"{os.fspath(out)}.log")) as tracker:
        classifier, result = _trained(
            variant, audio, fit.features.spec, examples, lesson.validation.given(fit.labels, held), targets, start,
            lesson.teacher, seed=seed, device=device, checkpoint=checkpoint, progress=progress, tracker=tracker,
        )  # fmt: skip
    without_labels = {key for pool in pools for key in pool.hashes}
    classifier.seen = frozenset([*lesson.fit.hashes, *lesson.validation.hashes]) | without_labels
    classifier.taught = lesson.taught
    classifier.about = {**about, **({"unlabelled": len(without_labels)} if pools else {})}
    outcome = {
        "best_step": result.best_step,
        "validation_score": result.best_score,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if current().first:
        classifier.save(out, {"history.json": result.history, **({"result.json": outcome} if timed else {})})
    current().meet()
    return classifier


def _bytes(parts: Sequence[Part]) -> int:
    return sum(4 * part.features.width * len(part.ids) for part in parts)


def _held(labelled: Sequence[Part], device: str) -> bool:
    """Whether features of labelled clips are held: if they are few, were read from a file of inputs, or lie on a GPU, so that no step waits."""
    read = all(isinstance(part.features, FileFeatures) for part in labelled)
    return read or device != "cpu" or _bytes(labelled) <= IN_MEMORY


def _targets(
    variant: VariantConfig, parts: list[Part], compressor: Compressor | None, folder: Path
) -> tuple[np.ndarray | None, nn.Module | None]:
    """Vectors of all parts in order, compressed if they are to be; and the module that the joint schedule starts from.

    More of them than memory should hold lie in a file in `folder` that is gone when they are.
    """
    transfer = variant.transfer
    if not transfer.cached:
        return None, None
    if any(part.embeddings is None for part in parts):
        raise ConfigError(
            f"transfer method {transfer.method!r} learns from the embeddings of every clip, and some have none"
        )
    start = compressor.to_module() if transfer.joint and compressor is not None else None
    applied = None if transfer.joint else compressor
    widths = {part.embeddings.dim if applied is None else applied.n_components_ for part in parts}
    if len(widths) > 1:
        raise ConfigError(
            f"targets of the labelled and the unlabelled clips have different widths, {sorted(widths)}; "
            "make both with the same teacher and compressor"
        )
    (width,) = widths
    if not transfer.over_time and 4 * width * sum(len(part.ids) for part in parts) > HELD:
        blocks = (_vectors(part, applied, at, at + BLOCK) for part in parts for at in range(0, len(part.ids), BLOCK))
        folder.mkdir(parents=True, exist_ok=True)
        return scratch_rows(blocks, width, folder, copies=True), start
    return np.concatenate([_vectors(part, applied, 0, len(part.ids), transfer.over_time) for part in parts]), start


def _vectors(part: Part, compressor: Compressor | None, first: int, last: int, over_time: bool = False) -> np.ndarray:
    """Vectors of the clips from `first` to `last` of a part, compressed where there is a compressor."""
    ids = list(part.ids[first:last])
    if compressor is None:
        return part.embeddings.take(ids, over_time)
    return compressor.transform(part.embeddings.vectors(ids))


def _trained(
    variant: VariantConfig,
    audio: AudioConfig,
    inputs: InputSpec,
    fit: Drawable,
    validation: Examples | Streamed,
    targets: np.ndarray | None,
    start: nn.Module | None,
    teacher: Callable[[np.ndarray], np.ndarray] | None,
    *,
    seed: int,
    device: str,
    checkpoint: str | os.PathLike | None,
    progress: Callable[[int], None] | None,
    tracker: Tracker | None,
) -> tuple[Classifier, TrainingResult]:
    classifier = Classifier.new(fit.labels.classes, audio, variant.student, fit.labels.multi_label, seed, inputs)
    # Initial weights and dropout come from torch's global generator; the caller's is left as it was.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        transfer = build_transfer(variant.transfer, fit.labels.multi_label, start, teacher)
        transfer.prepare(targets, fit.labels, classifier.network.embedding_width)
        result = train(
            classifier.network, transfer, fit, validation, variant.training,
            seed=seed, device=device, checkpoint=checkpoint, progress=progress, tracker=tracker,
        )  # fmt: skip
    return classifier, result


@contextlib.contextmanager
def _tracker(variant: VariantConfig, about: dict[str, Any], seed: int, folder: Path) -> Iterator[Tracker | None]:
    """What ``training.log`` names, closed at the end; of several processes that train together the first has it."""
    if variant.training.log == Tracker.name or not current().first:
        yield None
        return
    settings = {name: section for name, section in to_dict(variant).items() if name in OF_TRAINING}
    words = (about.get("train_dataset"), about.get("variant") or about.get("method"), about.get("fold"))
    title = ", ".join([*(str(word) for word in words if word not in (None, "")), f"seed {seed}"])
    tracker = TRACKERS[variant.training.log](title, flat(settings), folder)
    try:
        yield tracker
    finally:
        tracker.close()
