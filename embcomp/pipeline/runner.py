"""A whole run: variants compared over folds and seeds, every common stage made once."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from embcomp.audio.clips import Clips
from embcomp.config import RunConfig, to_toml
from embcomp.data.labels import find_label_map
from embcomp.data.manifest import Manifest
from embcomp.engines import open_engine
from embcomp.engines.local import set_threads
from embcomp.errors import BadClip, EmbcompError, EmbcompWarning
from embcomp.evaluation.scores import summarise
from embcomp.pipeline import checks
from embcomp.pipeline.environment import environment
from embcomp.pipeline.finished import Record
from embcomp.pipeline.inputs import (
    dataset_paths,
    input_datasets,
    possible_sizes,
    refuse_unequal_widths,
    refuse_untested,
    resolved,
    vector_dataset,
)
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.results import FILES, results_key, score_table, score_together, write_results
from embcomp.pipeline.stages.base import Job, RunContext
from embcomp.pipeline.stages.compressor import make_compressor
from embcomp.pipeline.stages.embeddings import EmbeddingsJob, make_embeddings, with_member
from embcomp.pipeline.stages.features import make_features
from embcomp.pipeline.stages.joined import make_joined
from embcomp.pipeline.stages.probe import make_probe
from embcomp.pipeline.stages.student import make_student
from embcomp.pipeline.stages.views import make_view
from embcomp.pipeline.workspace import Dataset, Workspace, make_splits
from embcomp.storage.arrays import WriterLock
from embcomp.storage.files import fingerprint, read_json, write_json, write_text
from embcomp.storage.outputs import results_at
from embcomp.storage.ownership import check_results, mark_results
from embcomp.storage.places import absolute
from embcomp.teachers import require_teacher
from embcomp.training.devices import check_device, warn_of_bfloat16
from embcomp.training.tracking import TRACKERS
from embcomp.transfer.base import Source

__all__ = ["RunResult", "run"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes
    ----------
    folder : Path
    scores : DataFrame
        Rows of scores.csv.
    summary : DataFrame
        One row per variant and test set, see `embcomp.evaluation.scores.summarise`.
    made, reused : int
        Stages computed now, and stages found finished.
    bad : tuple of BadClip
        Clips left out.
    cut : dict of str to int
        How many clips of each data set are longer than ``audio.seconds`` and were cut.
    """

    folder: Path
    scores: pd.DataFrame
    summary: pd.DataFrame
    made: int
    reused: int
    bad: tuple[BadClip, ...]
    cut: dict[str, int]


def run(config: RunConfig, out: str | os.PathLike, progress: Progress | None = None) -> RunResult:
    """Compare the variants of `config`.

    Teachers and compressors learn from training rows only, compressors and
    students from the fit rows of their seed's split. Stages whose result is
    under `out` already are not computed again, so an interrupted run goes on where it was.

    Parameters
    ----------
    config : RunConfig
    out : path
        The run's folder.
    progress : callable, optional
        Called with a stage's name, how many are done and how many there are.

    Returns
    -------
    RunResult

    Raises
    ------
    AudioError
        Clips cannot be used (all are named) and ``data.skip_bad`` is false.
    ArtifactError
        `out` holds files of another program that would be written over.
    MissingDependencyError
        The engine needs a package that is not installed.
    ManifestError, ConfigError, StoreError, DataError
        Say what to mend; StoreError also where another process is writing `out`.

    Examples
    --------
    >>> from embcomp import load_config, run                       # doctest: +SKIP
    >>> run(load_config("recipes/fsdd/configs/quick.toml"), "runs/fsdd").summary   # doctest: +SKIP
    """
    progress = progress or (lambda stage, done, total: None)
    refuse_untested(config)
    record = Record(config, _named_files(config))
    with _opened(config, out) as (space, config, manifests, engine):
        record.begin(space.folder)
        ready = _planned(space, config, manifests, progress, record)
        made, reused = _done(ready, engine, progress)
        plan, guards = ready.plan, ready.guards
        guards |= checks.check_students(plan) | checks.listed(plan.context, ready.given)
        table = score_table(plan, guards)
        summary = summarise(table)
        key = results_key(plan, table, guards, ready.bad, ready.cut)
        if made or not record.written(key):
            write_results(plan, table, summary, guards, ready.bad, ready.cut)
        record.end(space.folder, key)
        return RunResult(space.folder, table, summary, made, reused, tuple(ready.bad), ready.cut)


def validation_scores(
    config: RunConfig, out: str | os.PathLike, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Train the students of a run and look at their validation clips alone: nothing is predicted for a test clip.

    A run of the same settings in the same folder then has its students already.

    Parameters
    ----------
    config, out, progress
        As of `run`; further data sets of `config` are not read.

    Returns
    -------
    dict of str to list of float
        Of each variant, the best ``training.monitor`` of every seed and fold.

    Raises
    ------
    EmbcompError
        As `run`.
    """
    progress = progress or (lambda stage, done, total: None)
    config = replace(config, data=replace(config.data, cross=()))
    with _opened(config, out) as (space, config, manifests, engine):
        ready = _planned(space, config, manifests, progress)
        _done(ready, engine, progress, untested=True)
        checks.check_students(ready.plan)
        found: dict[str, list[float]] = {}
        for one in ready.plan.students:
            found.setdefault(one.variant, []).append(read_json(one.student / "result.json")["validation_score"])
        return found


@contextlib.contextmanager
def _opened(config: RunConfig, out: str | os.PathLike) -> Iterator[tuple[Workspace, RunConfig, list[Manifest], Any]]:
    """The folder of a run, which nobody else may write meanwhile, with its settings, manifests and engine."""
    if config.engine == "local":
        check_device(config.device)  # of a cluster, the workers have it
        warn_of_bfloat16(any(one.training.amp for one in config.variants), config.device)
    for variant in config.variants:
        TRACKERS[variant.training.log].check()
    refuse_unequal_widths(config)
    engine = open_engine(config.engine, config.workers, config.threads)
    config = replace(config, data=replace(config.data, root=absolute(config.data.root or ".")))
    with results_at(out) as folder:
        space = Workspace(folder)
        config, manifests = _manifests(config)
        check_results(space.folder, "run", FILES, _older)
        with WriterLock(space.folder, "a run", inside=True):
            _require_teachers(space, config)
            yield space, config, manifests, engine


def _require_teachers(space: Workspace, config: RunConfig) -> None:
    """Refuse what the first embeddings would stop at, before clips are read; of a cluster, the workers have it."""
    if config.engine == "local" and not (space.folder / "stages" / "embeddings").exists():
        for one in dict.fromkeys(one.teacher for one in config.variants if one.transfer.source != Source.NONE):
            require_teacher(one)


@dataclass(frozen=True)
class _Ready:
    """A plan that passed its guards."""

    plan: Plan
    guards: dict[str, Any]
    given: dict[str, Any]
    bad: list[BadClip]
    cut: dict[str, int]


def _planned(
    space: Workspace, config: RunConfig, manifests: list[Manifest], progress: Progress, record: Record | None = None
) -> _Ready:
    datasets, bad, cut = _datasets(space, config, manifests, progress, record)
    mark_results(space.folder, "run")
    count = 1 + len(config.data.cross)
    datasets, pools = datasets[:count], datasets[count:]
    guards = checks.check_datasets(datasets, config) | checks.check_pools(datasets, pools, config)
    splits = make_splits(datasets[0], config)
    guards |= checks.check_splits(datasets[0], splits, config)
    for split in splits:
        space.save_split(split)
    if config.data.inputs == "none":
        config = possible_sizes(config, manifests[0], splits)
    plan = Plan(RunContext(space, config, datasets, pools), splits)
    given = checks.given_teachers(plan.context)
    guards |= checks.check_transductive(plan) | checks.check_teachers(plan, given)
    write_text(space.folder / "config.toml", to_toml(config))
    write_json(space.folder / "environment.json", environment(config))
    return _Ready(plan, guards, given, bad, cut)


def _done(ready: _Ready, engine: Any, progress: Progress, untested: bool = False) -> tuple[int, int]:
    """Do all stages, or those up to students that are not tested; how many were made, and how many were there."""
    plan, config = ready.plan, ready.plan.context.config
    made, reused, on_gpu = 0, 0, _on_gpu(config)
    with engine:
        for name, function, jobs in _phases(plan):
            if untested and function is make_student:
                jobs = [replace(job, tests=[]) for job in jobs]
            todo = [job for job in jobs if not all(Path(path).exists() for path in job.outputs)]
            made, reused = made + len(todo), reused + len(jobs) - len(todo)
            progress(name, len(jobs) - len(todo), len(jobs))
            together = max(one.training.processes for one in config.variants) if function is make_student else 1
            gpus = together * (name in on_gpu)
            if name == "embeddings" and _to_share(plan, todo, engine.workers):
                ended = _shared(engine, config, todo)
            else:
                ended = engine.map(function, [asdict(job) for job in todo], gpus=gpus, processes=together)
            for done, _ in enumerate(ended, 1):
                progress(name, len(jobs) - len(todo) + done, len(jobs))
            if name == "compressors":
                ready.guards.update(checks.check_compressors(plan))  # before students take hours to learn from them
            if untested and function is make_student:
                break
        else:
            score_together(plan, engine)
    return made, reused


def _named_files(config: RunConfig) -> list[Path]:
    """The files that the settings name, beside those that manifests name."""
    found = dataset_paths(config)
    if name := config.data.label_map:
        with contextlib.suppress(EmbcompError):  # which is said when it is read
            found.append(find_label_map(name, config.data.root))
    return found


def _manifests(config: RunConfig) -> tuple[RunConfig, list[Manifest]]:
    """The manifests of all sets, and the settings that hold for them."""
    manifests = [
        Manifest.read(path, config.data.allow_outside, config.data.group_column, group_column_needed=not number)
        for number, path in enumerate(dataset_paths(config))
    ]
    return resolved(config, manifests), manifests


def _older(folder: Path) -> bool:
    """Whether a version that did not yet mark its folders ran here: it left its versions and its splits."""
    try:
        packages = read_json(folder / "environment.json")["packages"]
    except (EmbcompError, LookupError, TypeError):
        return False
    return isinstance(packages, dict) and "embcomp" in packages and (folder / "stages" / "splits").is_dir()


def _datasets(
    space: Workspace, config: RunConfig, manifests: list[Manifest], progress: Progress, record: Record | None
) -> tuple[list[Dataset], list[BadClip], dict[str, int]]:
    found, everything_bad, cut = [], [], {}
    if config.data.inputs != "audio":
        without_audio = (
            (vector_dataset(manifest, config) for manifest in manifests)
            if config.data.inputs == "none"
            else input_datasets(manifests, config)
        )
        for path, (dataset, bad) in zip(dataset_paths(config), list(without_audio)):
            space.save_dataset(dataset, path)
            found.append(dataset)
            everything_bad += bad
        return found, everything_bad, cut
    for path, manifest in zip(dataset_paths(config), manifests):
        clips = Clips.of(manifest, config.audio)
        hashes = clips.hashes()
        if record is not None:
            record.add_clips(manifest, hashes)
        manifest, bad, longer = _checked(space, clips, hashes, config.data.skip_bad, progress)
        hash_of = dict(zip(clips.manifest.ids, hashes))
        dataset = Dataset(manifest, tuple(hash_of[clip] for clip in manifest.ids), clips.manifest)
        space.save_dataset(dataset, path)
        found.append(dataset)
        everything_bad += bad
        cut[manifest.name] = longer
    return found, everything_bad, cut


def _checked(
    space: Workspace, clips: Clips, hashes: list[str], skip_bad: bool, progress: Progress
) -> tuple[Manifest, list[BadClip], int]:
    """Usable clips, unusable ones, and how many are cut; what was found for the same content is not looked for again."""
    key = fingerprint(
        [clips.manifest.ids, hashes, clips.sample_rate, clips.seconds, skip_bad]
        + ([clips.channel] if clips.channel != "mix" else [])
        + ([True] if clips.ffmpeg else [])
    )
    known = space.stage("checks", f"{key}.json")
    if known.exists():
        content = read_json(known)
        bad = [BadClip(**clip) for clip in content["bad"]]
        keep = ~clips.manifest.table["row"].isin({clip.row for clip in bad}).to_numpy()
        notes = content.get("notes", [])
        for note in notes:
            warnings.warn(note, EmbcompWarning, stacklevel=2)
        return _noted(clips.manifest.select(keep), notes), bad, content["cut"]
    done = 0

    def count(step: int) -> None:
        nonlocal done
        done += step
        progress(f"check {clips.manifest.name}", done, len(clips))

    found = clips.check(skip_bad, count)
    content = {"bad": [asdict(clip) for clip in found.bad], "cut": found.longer, "notes": list(found.notes)}
    write_json(known, content)
    return _noted(found.clips.manifest, found.notes), found.bad, found.longer


def _noted(manifest: Manifest, notes: Sequence[str]) -> Manifest:
    return replace(manifest, notes=(*manifest.notes, *notes))


def _to_share(plan: Plan, jobs: Sequence[EmbeddingsJob], workers: int) -> bool:
    """Whether each job is for all workers together, and not for one: few jobs, none of which learns beside others."""
    learns = any(with_member(plan.context.variant(job.variant), job.member).teacher.learns for job in jobs)
    return len(jobs) < workers and not (learns and len(jobs) > 1)


def _shared(engine: Any, config: RunConfig, jobs: Sequence[EmbeddingsJob]) -> Iterator[tuple[int, None]]:
    """Embeddings of few teachers: one after the other, each by all workers."""
    set_threads(config.threads)
    for number, job in enumerate(jobs):
        make_embeddings(engine, **asdict(job))
        yield number, None


def _on_gpu(config: RunConfig) -> set[str]:
    """The stages that need a GPU, by name."""
    teachers = [one for variant in config.variants for one in variant.teacher.members or (variant.teacher,)]
    found = {"embeddings", "views"} if any(_cuda(getattr(one, "device", "")) for one in teachers) else set()
    return found | ({"students", "probes"} if _cuda(config.device) else set())


def _cuda(device: str) -> bool:
    return device.startswith("cuda")


def _phases(plan: Plan) -> Iterator[tuple[str, Callable, Sequence[Job]]]:
    """Name, function and jobs of each stage, in order."""
    yield (
        "log-mels" if plan.context.config.data.inputs == "audio" else "inputs",
        make_features,
        list(plan.features.values()),
    )
    yield "embeddings", make_embeddings, list(plan.embeddings.values())
    if plan.joined:
        yield "joined embeddings", make_joined, list(plan.joined.values())
    if plan.views:
        yield "views", make_view, list(plan.views.values())
    if plan.joined_views:
        yield "joined views", make_view, list(plan.joined_views.values())
    yield "compressors", make_compressor, list(plan.compressors.values())
    yield "students", make_student, plan.student_jobs
    # After the students: some probes are fitted on their embeddings.
    yield "probes", make_probe, [probe.job for probe in plan.probes]
