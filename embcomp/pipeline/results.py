"""What a finished run writes: tables, metrics.json, the index of predictions and the reports."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from embcomp.config import to_dict
from embcomp.data.manifest import Manifest
from embcomp.errors import BadClip
from embcomp.evaluation.scores import COLUMNS, headline
from embcomp.evaluation.table import Setting
from embcomp.metrics import monitored
from embcomp.pipeline.cards import write_cards
from embcomp.pipeline.comparisons import class_scores, comparisons, tested_students
from embcomp.pipeline.kept_scores import KeptScores
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.stages.scoring import Tested, scored_clips, test_columns
from embcomp.report import build, markdown_summary, to_html
from embcomp.storage.files import fingerprint, read_json, write_json, write_table, write_text
from embcomp.storage.publishing import withdraw

FILES = (
    *("config.toml", "environment.json", "scores.csv", "comparisons.csv", "per_class.csv", "history.csv"),
    *("metrics.json", "predictions.json", "report.md", "report.html", "repeat.json", "stages"),
)


def score_table(plan: Plan, guards: dict[str, Any]) -> pd.DataFrame:
    """Rows of scores.csv: every student and probe on every test, by seed and with all seeds pooled.

    Parameters
    ----------
    guards : dict
        What the leak guards found.
    """
    rows: list[dict[str, Any]] = []
    kept = KeptScores(plan.context.space.stage("scores", "scores.json"), plan.context.config.evaluation)
    unseen = unseen_words(plan, guards)
    for variant, group in _by_variant(plan).items():
        rows += _validation_rows(plan, variant, group)
        for columns, of_seed in _tested(plan, variant, group).items():
            about = {**group[0].about, "variant": variant, **dict(columns)}
            about["unseen"] = unseen if about["setting"] in (Setting.IN_DOMAIN, Setting.ROBUSTNESS) else ""
            for seed, pieces in of_seed.items():
                rows += [{**about, "seed": seed, **row} for row in kept.rows(pieces)]
            pooled = kept.rows(sum(of_seed.values(), []))
            rows += [{**about, "seed": "all", **row} for row in pooled]
    kept.save()
    table = pd.DataFrame(rows)
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def score_together(plan: Plan, engine: Any) -> None:
    """Have the workers of an engine make what `score_table` needs, where it is not kept yet."""
    kept = KeptScores(plan.context.space.stage("scores", "scores.json"), plan.context.config.evaluation)
    together = [
        [*of_seed.values(), sum(of_seed.values(), [])]
        for variant, group in _by_variant(plan).items()
        for of_seed in _tested(plan, variant, group).values()
    ]
    kept.score(together, engine)


def _by_variant(plan: Plan) -> dict[str, list[Tested]]:
    """Students and probes by variant: one kind of vector has several probes, each a variant of its own."""
    found: dict[str, list[Tested]] = {}
    for one in plan.students + plan.probes:
        for variant in dict.fromkeys([one.variant] if one.student else [test.variant for test in one.tests]):
            found.setdefault(variant, []).append(one)
    return found


def _tested(plan: Plan, variant: str, group: list[Tested]) -> dict[tuple, dict[int, list[str]]]:
    """Files of a variant's predictions by the columns that say what was tested, and by seed."""
    found: dict[tuple, dict[int, list[str]]] = {}
    for one in group:
        for test in (test for test in one.tests if test.variant == variant):
            of_seed = found.setdefault(tuple(test_columns(plan.context, test).items()), {})
            of_seed.setdefault(one.split.seed, []).append(test.path)
    return found


def unseen_words(plan: Plan, guards: dict[str, Any]) -> str:
    """What the test clips of the set trained on are, after the word unseen."""
    if shared := guards.get("shared_groups"):
        return f"clips; {shared} of their groups are in training"
    return plan.context.source.manifest.unseen


def _validation_rows(plan: Plan, variant: str, group: list[Tested]) -> list[dict]:
    """What early stopping saw: to choose settings by, never to report."""
    if group[0].student is None:
        return []
    rows = []
    metric = monitored(plan.context.variant(variant).training.monitor, plan.splits[0].multi_label)
    for one in group:
        row = {
            **one.about,
            "variant": variant,
            "setting": Setting.VALIDATION,
            "shift": "",
            "probe": "",
            "vectors": "",
            "transductive": "",
        }
        row["test_dataset"] = row["train_dataset"]
        value = read_json(one.student / "result.json")["validation_score"]
        rows.append(row | {"metric": metric, "value": value, "n": len(one.split.validation)})
    return rows


def write_results(
    plan: Plan,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    guards: dict[str, Any],
    bad: list[BadClip],
    cut: dict[str, int],
) -> None:
    """Write everything that a finished run leaves beside its stages.

    Parameters
    ----------
    plan : Plan
        All of its stages are done.
    table, summary : DataFrame
        From `score_table`, and `embcomp.evaluation.scores.summarise` of it.
    guards : dict
        What the leak guards found.
    bad : list of BadClip
        Clips left out.
    cut : dict of str to int
        How many clips of each data set were cut.
    """
    config, folder, further = plan.context.config, plan.context.space.folder, plan.context.datasets[1:]
    tested = tested_students(plan)
    differences, claims = comparisons(plan, tested, unseen_words(plan, guards))
    _write_rows(folder / "scores.csv", table)
    _write_rows(folder / "comparisons.csv", differences)
    _write_rows(folder / "per_class.csv", class_scores(plan, tested))
    history = [
        {"variant": one.variant, "seed": one.split.seed, "fold": one.split.fold, **row}
        for one in plan.students
        for row in read_json(one.student / "history.json")
    ]
    _write_rows(folder / "history.csv", pd.DataFrame(history))
    scored = {
        dataset.manifest.name: scored_clips(plan.context, number, plan.splits[0])
        for number, dataset in enumerate(further, 1)
    }
    metrics = {
        "name": config.name,
        "metric": headline(table),
        "claim": claims,
        "guards": guards,
        "summary": json.loads(summary.to_json(orient="records")),
        "students": {one.student.name: read_json(one.student / "result.json") for one in plan.students},
        "folds": sorted({split.fold for split in plan.splits}),
        "seeds": list(config.seeds),
        "left_out": {name: one.left_out for name, one in scored.items()},
        "not_tested": {name: list(one.not_tested) for name, one in scored.items()},
        "bad_clips": [asdict(clip) for clip in bad],
        "cut": cut,
        "inputs": config.data.inputs,
        "audio_seconds": config.audio.seconds,
        "unseen": unseen_words(plan, guards),
        "groups": {dataset.manifest.name: _groups(dataset.manifest) for dataset in plan.context.datasets},
        "notes": {dataset.manifest.name: list(dataset.manifest.notes) for dataset in plan.context.datasets},
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "predictions.json", _index(plan))
    students: dict[str, list[Path]] = {}
    for one in plan.students:
        students.setdefault(one.variant, []).append(one.student)
    write_cards(students, table, guards)
    write_text(folder / "report.md", markdown_summary(config.name, summary, metrics))
    write_text(folder / "report.html", to_html(build([folder])))


def results_key(
    plan: Plan, table: pd.DataFrame, guards: dict[str, Any], bad: list[BadClip], cut: dict[str, int]
) -> str:
    """Key of all that `write_results` writes, as long as the stages are what they were."""
    sets = [
        [one.key, one.manifest.name, list(one.manifest.notes), unit, one.manifest.unseen]
        for one in plan.context.sets
        for unit in [_groups(one.manifest)]
    ]
    about = [guards, [asdict(clip) for clip in bad], cut, sets, [split.key for split in plan.splits]]
    return fingerprint([to_dict(plan.context.config), _index(plan), about, table.to_csv(index=False)])


def _groups(manifest: Manifest) -> dict[str, Any]:
    """What the groups of a data set are, how many there are, and how many clips were given none."""
    return {"unit": manifest.unit, "count": len(set(manifest.groups)), "without": manifest.ungrouped}


def _index(plan: Plan) -> list[dict]:
    """What predictions.json says: every test, and where what made it lies; paths start from the run's folder."""
    kinds = {variant.name: str(variant.transfer.source) for variant in plan.context.config.variants}

    def place(path: str | Path | None) -> str | None:
        return None if path is None else Path(path).relative_to(plan.context.space.folder).as_posix()

    return [
        {
            "variant": test.variant,
            "seed": one.split.seed,
            "fold": one.split.fold,
            **test_columns(plan.context, test),
            "targets": "probe" if one.student is None else kinds[one.variant],
            "path": place(test.path),
            "student": place(one.student),
            "embedding": None if one.student is None else place(one.job.embedding),
        }
        for one in plan.students + plan.probes
        for test in one.tests
    ]


def _write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table; one without rows leaves no file, not even that of an earlier run."""
    if table.empty:
        withdraw(path)
    else:
        write_table(path, table)
