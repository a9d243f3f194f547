"""A whole run: variants compared over folds and seeds, every common stage made once."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from embcomp.audio.clips import Clips
from embcomp.config import RunConfig, to_toml
from embcomp.data.manifest import Manifest
from embcomp.engines.local import Engine
from embcomp.errors import BadClip
from embcomp.evaluation.scores import COLUMNS, Predictions, headline, score_rows, summarise
from embcomp.metrics import monitored
from embcomp.pipeline import checks, stages
from embcomp.pipeline.comparisons import class_scores, comparisons, tested_students
from embcomp.pipeline.plan import Plan, Training
from embcomp.pipeline.stages.probe import make_probe
from embcomp.pipeline.workspace import Dataset, Workspace, make_splits
from embcomp.report import build, markdown_summary, to_html
from embcomp.storage.files import fingerprint, read_json, write_json, write_text
from embcomp.training.devices import check_device
from embcomp.transfer import target_kind

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
    made, stood : int
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
    stood: int
    bad: tuple[BadClip, ...]
    cut: dict[str, int]


def run(config: RunConfig, out: str | os.PathLike, progress: Progress | None = None) -> RunResult:
    """Compare the variants of `config`.

    Teachers and compressors learn from training rows only, compressors and
    students from the fit rows of their seed's split. Stages whose result stands
    under `out` are not made again, so an interrupted run goes on where it was.

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
    ManifestError, ConfigError, StoreError, DataError
        Say what to mend.

    Examples
    --------
    >>> from embcomp import load_config, run                       # doctest: +SKIP
    >>> run(load_config("recipes/fsdd/configs/quick.toml"), "runs/fsdd").summary   # doctest: +SKIP
    """
    progress = progress or (lambda stage, done, total: None)
    check_device(config.device)
    config = replace(config, data=replace(config.data, root=str(Path(config.data.root or ".").resolve())))
    space = Workspace(out)
    datasets, bad, cut = _datasets(space, config, progress)
    splits = make_splits(datasets[0], config)
    checks.check_splits(datasets[0], splits, config)
    for split in splits:
        space.save_split(split)
    plan = Plan(space, config, datasets, splits)
    write_text(space.folder / "config.toml", to_toml(config))
    write_json(space.folder / "environment.json", environment(config))
    made = stood = 0
    with Engine(config.workers, config.threads) as engine:
        for name, function, jobs, total in _phases(plan):
            made, stood = made + len(jobs), stood + total - len(jobs)
            progress(name, total - len(jobs), total)
            for done, _ in enumerate(engine.map(function, jobs), 1):
                progress(name, total - len(jobs) + done, total)
            if name == "compressors":
                checks.check_compressors(plan)  # before students take hours to learn from them
    table = _scores(plan)
    summary = summarise(table)
    _write_results(plan, table, summary, bad, cut)
    return RunResult(space.folder, table, summary, made, stood, tuple(bad), cut)


def _datasets(
    space: Workspace, config: RunConfig, progress: Progress
) -> tuple[list[Dataset], list[BadClip], dict[str, int]]:
    paths = [Path(config.data.root, name) for name in (config.data.train, *config.data.cross)]
    manifests = [Manifest.read(path, config.data.allow_outside) for path in paths]
    all_clips = [Clips(manifest, config.audio.sample_rate, config.audio.seconds) for manifest in manifests]
    found, everything_bad, cut = [], [], {}
    for path, clips in zip(paths, all_clips):
        hashes = clips.hashes()
        manifest, bad, longer = _checked(space, clips, hashes, config.data.skip_bad, progress)
        hash_of = dict(zip(clips.manifest.ids, hashes))
        dataset = Dataset(manifest, tuple(hash_of[clip] for clip in manifest.ids))
        space.save_dataset(dataset, path)
        found.append(dataset)
        everything_bad += bad
        cut[manifest.name] = longer
    checks.check_datasets(found, config)
    return found, everything_bad, cut


def _checked(
    space: Workspace, clips: Clips, hashes: list[str], skip_bad: bool, progress: Progress
) -> tuple[Manifest, list[BadClip], int]:
    """Usable clips, unusable ones, and how many are cut; what was found for the same content is not looked for again."""
    key = fingerprint([clips.manifest.ids, hashes, clips.sample_rate, clips.seconds, skip_bad])
    known = space.stage("checks", f"{key}.json")
    if known.exists():
        content = read_json(known)
        bad = [BadClip(**clip) for clip in content["bad"]]
        keep = ~clips.manifest.table["row"].isin({clip.row for clip in bad}).to_numpy()
        return clips.manifest.select(keep), bad, content["cut"]
    done = 0

    def count(step: int) -> None:
        nonlocal done
        done += step
        progress(f"check {clips.manifest.name}", done, len(clips))

    usable, bad = clips.usable(skip_bad, count)
    longer = usable.longer()
    write_json(known, {"bad": [asdict(clip) for clip in bad], "cut": longer})
    return usable.manifest, bad, longer


def _phases(plan: Plan) -> Iterator[tuple[str, Callable, list[dict], int]]:
    """Name, function, the jobs not yet done, and how many there are in all."""
    features = [job for path, job in plan.features.items() if not path.exists()]
    yield "log-mels", stages.make_features, features, len(plan.features)
    embeddings = [job for paths, job in plan.embeddings.items() if not all(path.exists() for path in paths)]
    yield "embeddings", stages.make_embeddings, embeddings, len(plan.embeddings)
    compressors = [job for path, job in plan.compressors.items() if not path.exists()]
    yield "compressors", stages.make_compressor, compressors, len(plan.compressors)
    yield (
        "students",
        stages.make_student,
        [student.job for student in plan.students if not student.stands],
        len(plan.students),
    )
    # After the students: some probes look at their embeddings.
    yield "probes", make_probe, [probe.job for probe in plan.probes if not probe.stands], len(plan.probes)


def _scores(plan: Plan) -> pd.DataFrame:
    rows = []
    by_variant: dict[str, list[Training]] = {}
    for training in plan.students + plan.probes:
        names = [training.variant] if training.student else [test.variant for test in training.tests]
        for variant in dict.fromkeys(names):
            by_variant.setdefault(variant, []).append(training)
    for variant, trainings in by_variant.items():
        rows += _validation_rows(plan, variant, trainings)
        tested: dict[tuple[str, str], dict[int, list[Predictions]]] = {}
        for training in trainings:
            for test in (test for test in training.tests if test.variant == variant):
                of_seed = tested.setdefault((test.name, test.setting), {})
                of_seed.setdefault(training.split.seed, []).append(Predictions.load(test.path))
        for (name, setting), of_seed in tested.items():
            common = {**trainings[0].about, "test_dataset": name, "variant": variant, "setting": setting}
            for seed, pieces in of_seed.items():
                rows += score_rows(pieces, plan.config.evaluation, common | {"seed": seed})
            rows += score_rows(sum(of_seed.values(), []), plan.config.evaluation, common | {"seed": "all"})
    table = pd.DataFrame(rows)
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def _validation_rows(plan: Plan, variant: str, trainings: list[Training]) -> list[dict]:
    """What early stopping saw: to choose settings by, never to report."""
    if trainings[0].student is None:
        return []
    rows = []
    monitor = next(one.training.monitor for one in plan.config.variants if one.name == variant)
    metric = monitored(monitor, plan.splits[0].multi_label)
    for training in trainings:
        result = read_json(training.student / "result.json")
        row = {
            **training.about,
            "test_dataset": training.about["train_dataset"],
            "variant": variant,
            "setting": "validation",
        }
        rows.append(row | {"metric": metric, "value": result["validation_score"], "n": len(training.split.validation)})
    return rows


def _write_results(
    plan: Plan, table: pd.DataFrame, summary: pd.DataFrame, bad: list[BadClip], cut: dict[str, int]
) -> None:
    folder = plan.space.folder
    tested = tested_students(plan)
    differences, claims = comparisons(plan, tested)
    _write_table(folder / "scores.csv", table)
    _write_table(folder / "comparisons.csv", differences)
    _write_table(folder / "per_class.csv", class_scores(plan, tested))
    history = [
        {"variant": training.variant, "seed": training.split.seed, "fold": training.split.fold, **row}
        for training in plan.students
        for row in read_json(training.student / "history.json")
    ]
    _write_table(folder / "history.csv", pd.DataFrame(history))
    first = plan.splits[0]
    counts = [stages.scored_clips(plan.config, dataset, first, abroad=True) for dataset in plan.datasets[1:]]
    metrics = {
        "name": plan.config.name,
        "metric": headline(table),
        "claim": claims,
        "guards": checks.findings(plan),
        "summary": json.loads(summary.to_json(orient="records")),
        "students": {training.student.name: read_json(training.student / "result.json") for training in plan.students},
        "folds": sorted({split.fold for split in plan.splits}),
        "seeds": list(plan.config.seeds),
        "left_out": {dataset.manifest.name: one.left_out for dataset, one in zip(plan.datasets[1:], counts)},
        "not_tested": {dataset.manifest.name: list(one.not_tested) for dataset, one in zip(plan.datasets[1:], counts)},
        "bad_clips": [asdict(clip) for clip in bad],
        "cut": cut,
        "audio_seconds": plan.config.audio.seconds,
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "predictions.json", _index(plan))
    write_text(folder / "report.md", markdown_summary(plan.config.name, summary, metrics))
    write_text(folder / "report.html", to_html(build([folder])))


def _index(plan: Plan) -> list[dict]:
    """What predictions.json says: every test, and where what made it lies; paths start from the run's folder."""
    kinds = {variant.name: target_kind(variant.transfer) for variant in plan.config.variants}

    def place(path: str | Path | None) -> str | None:
        return None if path is None else Path(path).relative_to(plan.space.folder).as_posix()

    return [
        {
            "variant": test.variant,
            "seed": training.split.seed,
            "fold": training.split.fold,
            "setting": test.setting,
            "test_dataset": test.name,
            "targets": "probe" if training.student is None else kinds[training.variant],
            "path": place(test.path),
            "student": place(training.student),
            "embedding": None if training.student is None else place(training.job["job"]["embedding"]),
        }
        for training in plan.students + plan.probes
        for test in training.tests
    ]


def _write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table; one without rows leaves no file, not even that of an earlier run."""
    if table.empty:
        path.unlink(missing_ok=True)
    else:
        write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def environment(config: RunConfig) -> dict:
    """Versions and machine, kept with every run."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    names = ("embcomp", "torch", "numpy", "scipy", "scikit-learn", "pandas", "soundfile", "soxr", "safetensors")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: installed(name) for name in names},
        "device": config.device,
        "threads": config.threads,
        "seeds": list(config.seeds),
    }
