"""A small run of a configuration on short-lived sets, each of its stages measured: what `embcomp plan` reckons from.

The sets have generated sounds, or sounds of the configuration's own manifest, with labels and groups made up: time and
memory do not depend on them. One fold and one seed are computed; how often a stage is there in the whole run is counted.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.compression import Compressor
from embcomp.config import RunConfig, to_toml
from embcomp.data.manifest import Manifest
from embcomp.evaluation.scores import summarise
from embcomp.pipeline import checks
from embcomp.pipeline.environment import environment
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.results import score_table, write_results
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.compressor import CompressorJob, make_compressor
from embcomp.pipeline.stages.embeddings import make_embeddings, ready_teacher, with_member
from embcomp.pipeline.stages.features import make_features
from embcomp.pipeline.stages.joined import JoinedJob, make_joined
from embcomp.pipeline.stages.probe import make_probe
from embcomp.pipeline.stages.student import StudentJob, make_student, train_job
from embcomp.pipeline.stages.views import ViewJob, make_view
from embcomp.pipeline.workspace import Dataset, Split, Workspace, make_splits
from embcomp.storage.files import write_json, write_text
from embcomp.storage.store import EmbeddingStore
from embcomp.teachers.kmeans import FEW, SAMPLE_RATE
from embcomp.training.compress import fit_compressor

WARM = 2  # steps before those that are timed
STEPS = 12
MANY = 3000  # rows
HOP = 160  # samples, of the log-mels that patches are cut from
KINDS = {  # folders of a run's stages, by what fills them
    "log-mels": ("features", "shifted"),
    "teacher": ("teachers",),
    "embeddings": ("embeddings",),
    "compressors": ("compressors",),
    "students": ("students", "checkpoints"),
    "tests": ("predictions",),
}


@dataclass(frozen=True)
class Counts:
    """How much there is of what stages take time and memory for.

    Attributes
    ----------
    sets : tuple of int
        Clips of the set trained on, of further sets, then of unlabelled ones.
    pools : int
        How many of `sets`, at the end, are unlabelled.
    fit, validation, test : int
        Clips of the set trained on in one fold.
    """

    sets: tuple[int, ...]
    pools: int
    fit: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        """Clips of all sets."""
        return sum(self.sets)

    @property
    def unlabelled(self) -> int:
        """Clips of the unlabelled sets."""
        return sum(self.sets[len(self.sets) - self.pools :])

    @property
    def tested(self) -> int:
        """Clips that a student is tested on."""
        return self.test + self.total - self.unlabelled - self.sets[0]


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes
    ----------
    stage : str
    key : str
        Which of the stage's jobs, by variant or data set.
    counts : Counts
    seconds : float
        Of processor time.
    patches : int
        Patches that a teacher learned from.
    """

    stage: str
    key: str
    counts: Counts
    seconds: float
    patches: int = 0


@dataclass
class Trial:
    """What runs of several sizes showed.

    Attributes
    ----------
    points : list of Point
    memory : list of tuple
        ``(stage, Counts, patches, bytes)``: resident memory at its peak.
    disk : list of tuple
        ``(stage, Counts, bytes)``: what a stage left there.
    jobs, alone : dict of tuple to int
        Jobs by ``(stage, key)``: in the whole run, and in one fold and seed.
    widths : dict of tuple to int
        Of ``("embedding", variant)`` and of ``("target", variant)``.
    start : float
        Seconds of processor time before the first stage: libraries are loaded.
    """

    points: list[Point] = field(default_factory=list)
    memory: list[tuple[str, Counts, int, int]] = field(default_factory=list)
    disk: list[tuple[str, Counts, int]] = field(default_factory=list)
    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    alone: dict[tuple[str, str], int] = field(default_factory=dict)
    widths: dict[tuple[str, str], int] = field(default_factory=dict)
    start: float = 0.0

    @property
    def sizes(self) -> list[int]:
        """Clips of the set trained on, in each run."""
        return sorted({point.counts.sets[0] for point in self.points if point.stage == "check"})


def patches_of(options: dict[str, Any], clips: int, seconds: float) -> int:
    """How many log-mel patches a teacher that draws some of each clip gets; 0 where it draws none.

    No more of a clip than its share of the setting, nor than the clip has.
    """
    wanted = options.get("patches", 0)
    frames = 1 + round(seconds * SAMPLE_RATE) // HOP
    available = max(1, frames - options.get("patch_frames", 1) + 1)
    if clips > wanted // FEW:
        return min(clips * available, wanted)
    return clips * min(available, -(-wanted // max(clips, 1)))


def run_trial(
    config: RunConfig, folder: Path, manifests: list[Path], trial: Trial, full: RunConfig, many: bool = False
) -> None:
    """Run every stage of one fold and seed, and add what they took to `trial`.

    Parameters
    ----------
    config : RunConfig
        Of one seed, with few steps; its data section names as many sets as there are `manifests`.
    folder : path
        Of the run; left to the caller to delete.
    manifests : list of Path
        Of the set trained on, of further sets, of unlabelled ones.
    trial : Trial
    full : RunConfig
        With all seeds, to count jobs by.
    many : bool, default=False
        Fit compressors on `MANY` rows, too: on fewer than an embedding has dimensions they take another time a row.
    """
    measure = Measure(trial)
    space = Workspace(folder)
    sets = [Manifest.read(path, config.data.allow_outside) for path in manifests]
    started = time.process_time()
    found = [_checked(space, config, one, path) for one, path in zip(sets, manifests)]
    count = 1 + len(config.data.cross)
    datasets, pools = found[:count], found[count:]
    guards = checks.check_datasets(datasets, config) | checks.check_pools(datasets, pools, config)
    split = make_splits(datasets[0], config)[0]
    guards |= checks.check_splits(datasets[0], [split], config)
    measure.counts = Counts(tuple(map(len, sets)), len(pools), len(split.fit), len(split.validation), len(split.test))
    measure.add("check", "", time.process_time() - started)
    space.save_split(split)
    write_text(folder / "config.toml", to_toml(config))  # which the report shows
    write_json(folder / "environment.json", environment(config))
    context = RunContext(space, config, datasets, pools)
    plan = Plan(context, [split])
    if not trial.jobs:
        whole = RunContext(space, replace(config, seeds=full.seeds), datasets, pools)
        trial.alone, trial.jobs = _counted(plan), _counted(Plan(whole, make_splits(datasets[0], whole.config)))
    for job in plan.features.values():
        with measure("log-mels", f"{job.number} {job.shift}"):
            make_features(**asdict(job))
    for job in plan.embeddings.values():
        variant = with_member(context.variant(job.variant), job.member)
        if variant.teacher.learns:
            learned = len(split.fit) + len(split.validation) + measure.counts.unlabelled
            drawn = patches_of(variant.teacher.options(), learned, config.audio.seconds)
            with measure("teacher", job.variant, drawn):
                ready_teacher(context, context.source, split, variant)
        with measure("embeddings", job.variant):
            make_embeddings(**asdict(job))
    for stage, job in _changed(plan):
        with measure(stage, job.variant):
            (make_joined if stage == "joined" else make_view)(**asdict(job))
    for job in plan.compressors.values():
        with measure("compressors", job.variant):
            make_compressor(**asdict(job))
        if many:
            _fit_many(measure, context, split, job)
    for student in plan.students:
        _student(measure, context, split, student.job, student.variant)
    for probe in plan.probes:
        with measure("probes", _name(probe)):
            make_probe(**asdict(probe.job))
    with measure("results", ""):
        table = score_table(plan, guards)
        write_results(plan, table, summarise(table), guards, [], {})
    for stage, kinds in KINDS.items():
        size = sum(_size_of(folder / "stages" / kind) for kind in kinds)
        trial.disk.append((stage, measure.counts, size))


def _fit_many(measure: Measure, context: RunContext, split: Split, job: CompressorJob) -> None:
    """Time a compressor on more rows than there are clips: these again and again, with noise."""
    variant, rng = context.variant(job.variant), np.random.default_rng(0)
    vectors = EmbeddingStore.open(job.embedding).take(split.fit)
    rows = np.arange(MANY) % len(vectors)
    many = vectors[rows] + 0.1 * vectors.std() * rng.standard_normal((MANY, vectors.shape[1]), dtype=np.float32)
    labels = None if job.unlabelled else split.labels(context.source, split.fit).select(rows)
    names = [str(row) for row in range(MANY)]
    started = time.process_time()
    fit_compressor(variant.compressor, many, labels, names, split.seed, start_only=variant.transfer.joint)
    counts = replace(measure.counts, sets=(MANY,), pools=0, fit=MANY)
    measure.trial.points.append(Point("compressors", job.variant, counts, time.process_time() - started))


def _student(measure: Measure, context: RunContext, split: Split, job: StudentJob, variant: str) -> None:
    applied = 0.0
    if job.embedding is not None:
        store = EmbeddingStore.open(job.embedding)
        measure.trial.widths["embedding", variant] = store.dim
        if job.compressor is not None:
            compressor = Compressor.load(job.compressor)
            measure.trial.widths["target", variant] = compressor.n_components_
            if not context.variant(variant).transfer.joint:
                vectors, started = store.take(split.fit), time.process_time()
                compressor.transform(vectors)
                applied = time.process_time() - started
                measure.add("apply", variant, applied)
    stamps = [time.process_time()]
    checkpoint = context.space.stage("checkpoints", f"{Path(job.path).name}.pt")
    with measure.memory("students"):
        train_job(context, job, checkpoint, progress=lambda done: stamps.append(time.process_time()))
    end = time.process_time()
    # The second stamp comes when all is prepared, each further one after a step.
    measure.add("set-up", variant, max(0.0, stamps[1] - stamps[0] - applied))
    measure.add("steps", variant, float(np.median(np.diff(stamps[1:])[WARM:])))
    measure.add("validation", variant, end - stamps[-1])
    with measure("tests", variant):
        make_student(**asdict(job))


class Measure:
    """Adds the processor time of a block, and the peak of memory in it, to a trial.

    Attributes
    ----------
    trial : Trial
    counts : Counts
        Of what is being measured.
    """

    counts: Counts

    def __init__(self, trial: Trial):
        self.trial = trial

    @contextmanager
    def __call__(self, stage: str, key: str, patches: int = 0) -> Iterator[None]:
        with self.memory(stage, patches):
            started = time.process_time()
            yield
            self.add(stage, key, time.process_time() - started, patches)

    @contextmanager
    def memory(self, stage: str, patches: int = 0) -> Iterator[None]:
        """The peak of memory alone."""
        _forget_peak()
        yield
        self.trial.memory.append((stage, self.counts, patches, peak_memory()))

    def add(self, stage: str, key: str, seconds: float, patches: int = 0) -> None:
        """Add a time measured otherwise."""
        self.trial.points.append(Point(stage, key, self.counts, seconds, patches))


def _changed(plan: Plan) -> Iterator[tuple[str, JoinedJob | ViewJob]]:
    for stage, jobs in (("joined", plan.joined), ("views", plan.views), ("joined views", plan.joined_views)):
        for job in jobs.values():
            yield stage, job


def _name(probe: Any) -> str:
    return f"{probe.variant} {type(probe.job).__name__}"


def _counted(plan: Plan) -> dict[tuple[str, str], int]:
    """Jobs of a plan by stage and key."""
    found: Counter[tuple[str, str]] = Counter({("check", ""): 1, ("results", ""): 1})
    found.update(("log-mels", f"{job.number} {job.shift}") for job in plan.features.values())
    for job in plan.embeddings.values():
        found.update([("embeddings", job.variant), ("teacher", job.variant)])
    found.update((stage, job.variant) for stage, job in _changed(plan))
    found.update(("compressors", job.variant) for job in plan.compressors.values())
    for student in plan.students:
        found.update((stage, student.variant) for stage in ("apply", "set-up", "steps", "validation", "tests"))
    found.update(("probes", _name(probe)) for probe in plan.probes)
    # The results grow with what was tested.
    found["results", ""] = len(plan.students) + len(plan.probes)
    return dict(found)


def _checked(space: Workspace, config: RunConfig, manifest: Manifest, path: Path) -> Dataset:
    clips = Clips.of(manifest, config.audio)
    hashes = clips.hashes()
    usable = clips.check(config.data.skip_bad).clips.manifest
    hash_of = dict(zip(manifest.ids, hashes))
    dataset = Dataset(usable, tuple(hash_of[clip] for clip in usable.ids), manifest)
    space.save_dataset(dataset, path)
    return dataset


def _size_of(folder: Path) -> int:
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


def _forget_peak() -> None:
    """Let the system count the peak of memory anew, where it can (Linux)."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def peak_memory() -> int:
    """Most resident memory of this process since `_forget_peak`, else since its start, bytes; 0 where that is unknown."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
        import sys

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        return 0
