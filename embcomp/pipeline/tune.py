"""Choose settings by validation groups: trials of changed settings, with Optuna; test clips are never scored."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from embcomp.config import RunConfig, load, to_dict, to_toml
from embcomp.errors import ConfigError, counted, nearest
from embcomp.extras import imported
from embcomp.pipeline.runner import Progress, validation_scores
from embcomp.pipeline.search_space import Dimension, override, read_space
from embcomp.storage.arrays import WriterLock
from embcomp.storage.files import fingerprint, read_json, write_json, write_table, write_text
from embcomp.storage.outputs import ended, into_results
from embcomp.storage.ownership import check_results, mark_results
from embcomp.storage.places import absolute

FILES = ("trials.csv", "tuned.toml", "study.jsonl", "study.json", "report.md")
STUDENTS = "students"  # the run folder that all trials share
STUDY = "embcomp"


@dataclass(frozen=True)
class Tuned:
    """What a tuning found.

    Attributes
    ----------
    folder : Path
    trials : DataFrame
        A row each: number, state, value (mean over students), std, students, seconds, a column for each setting, problem.
    best : dict of str to value
        Settings of the best trial.
    value, before : float
        Validation score with these, and with the settings of the file; NaN where that trial failed.
    importance : dict of str to float
        Share of the variance between trials that each setting explains; empty with fewer than four trials.
    """

    folder: Path
    trials: pd.DataFrame
    best: dict[str, Any]
    value: float
    before: float
    importance: dict[str, float]


@into_results
def tune(
    config: str | os.PathLike,
    out: str | os.PathLike,
    search: Sequence[str],
    *,
    trials: int = 20,
    variant: str = "",
    overrides: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> Tuned:
    """Try settings of a run's variant and keep those with the best validation score.

    The first trial is the file as it is. All trials share one run folder, so that what does not depend on the change is
    made once. A call that was interrupted goes on when it is repeated; with more `trials` it adds those that are missing.

    Parameters
    ----------
    config : path
        TOML of a run.
    out : path
        Folder to write.
    search : sequence of str
        ``section.key=LOW..HIGH``, with ``:log`` at its end for a logarithmic scale, or ``section.key=ONE|TWO|THREE``.
    trials : int, default=20
        In all, those of earlier calls included; at least 1.
    variant : str
        The one to tune; may be left out if the file has one that is not ``none``.
    overrides : sequence of str
        As of `embcomp.config.load`.
    seed : int, default=0
        Of the sampler. Students have the seeds of the file.

    Returns
    -------
    Tuned

    Raises
    ------
    MissingDependencyError
        optuna is not installed.
    ConfigError
        A setting does not exist or may not have a value of its range; nothing was trained then.
    ArtifactError
        `out` holds something else, or a tuning of other settings.
    """
    optuna = _optuna()
    out, report = Path(out), report or (lambda text: None)
    space = read_space(search)
    if trials < 1 or not space:
        raise ConfigError("give --trials of 1 or more, and a --search for each setting to try")

    def settings(values: dict[str, Any]) -> RunConfig:
        given = load(config, [*overrides, *(override(key, value) for key, value in values.items())])
        root = absolute(given.data.root or ".")  # tuned.toml lies elsewhere
        return replace(given, data=replace(given.data, root=root), variants=(_variant(given, variant),))

    start = settings({})
    for one in space:
        for value in one.extremes:
            settings({one.key: value})
    key = fingerprint([to_dict(start), list(search), seed])
    check_results(out, "tuning", FILES)
    out.mkdir(parents=True, exist_ok=True)
    with WriterLock(out, "a tuning", inside=True):
        _refuse_another(out, key)
        mark_results(out, "tuning")
        write_json(out / "study.json", {"key": key, "search": list(search), "seed": seed})
        study = _study(optuna, out, seed)
        _begin(optuna, study, space, start)
        while (done := len(study.trials) - len(_waiting(optuna, study))) < trials:
            trial = study.ask()
            values = {one.key: one.suggested(trial) for one in space}
            shown = ", ".join(override(*item) for item in values.items())
            report(f"trial {done + 1} of {trials}: {shown}")
            outcome = _tried(settings, values, out / STUDENTS, progress)
            for name, value in outcome.items():
                trial.set_user_attr(name, value)
            problem = outcome.get("problem")
            report(f"  {problem}" if problem else f"  validation {outcome['mean']:.4f} ± {outcome['std']:.4f}")
            state = optuna.trial.TrialState.FAIL if problem else optuna.trial.TrialState.COMPLETE
            study.tell(trial, None if problem else outcome["mean"], state=state)
            write_table(out / "trials.csv", _table(study, space))
            ended(out)  # what optuna has written; another machine would make the trials again
        return _concluded(optuna, study, space, settings, out, seed)


def _tried(
    settings: Callable[[dict], RunConfig], values: dict[str, Any], folder: Path, progress: Progress | None
) -> dict[str, Any]:
    """What came of a trial: mean and deviation over students, how many, seconds; or the problem."""
    started = time.monotonic()
    try:
        (scores,) = validation_scores(settings(values), folder, progress).values()
    except ConfigError as error:  # two settings that exclude each other: the others may do
        return {"problem": str(error)}
    if not all(map(math.isfinite, scores)):
        return {"problem": "a student's validation score is no number"}
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return {
        "mean": statistics.fmean(scores),
        "std": spread,
        "students": len(scores),
        "seconds": round(time.monotonic() - started, 1),
    }


def _optuna() -> ModuleType:
    optuna = imported("optuna", "tune needs", extra="tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: ModuleType, out: Path, seed: int) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(out / "study.jsonl")))
    study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize", load_if_exists=True)
    # A call that goes on must not repeat the draws of the one before.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=5, multivariate=False)
    return study


def _begin(optuna: ModuleType, study: Any, space: list[Dimension], start: RunConfig) -> None:
    """The file's own settings come first; a trial that a killed call was at is tried again."""
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
    if not study.trials:
        own = {one.key: one.stored(_own(start, one.key)) for one in space}
        # optuna draws what the search leaves out.
        study.enqueue_trial({key: value for key, value in own.items() if value is not None})


def _own(config: RunConfig, key: str) -> Any:
    """The value of a setting in a configuration of one variant."""
    section, name = key.split(".")
    (chosen,) = config.variants
    holder = chosen if hasattr(chosen, section) else config
    return to_dict(getattr(holder, section)).get(name)


def _waiting(optuna: ModuleType, study: Any) -> list[Any]:
    """Trials that do not count: those to come, and those that were cut off and are tried again."""
    again = {trial.user_attrs["again"] for trial in study.trials if "again" in trial.user_attrs}
    return [one for one in study.trials if one.state == optuna.trial.TrialState.WAITING or one.number in again]


def _variant(config: RunConfig, name: str) -> Any:
    known = {one.name: one for one in config.variants}
    if name and name not in known:
        raise ConfigError(f"there is no variant {name!r}; {nearest(name, known)}")
    taught = [one for one in config.variants if one.transfer.method != "none"] or list(config.variants)
    if not name and len(taught) > 1:
        raise ConfigError(f"which variant is to be tuned? give --variant, one of: {', '.join(known)}")
    return known[name] if name else taught[0]


def _refuse_another(out: Path, key: str) -> None:
    """A folder goes on with the tuning it was begun with."""
    path = out / "study.json"
    if path.exists():
        before = read_json(path)
        if not isinstance(before, dict) or before.get("key") != key:
            raise ConfigError(f"{out} holds a tuning of another file, --search, --set or seed; choose another --out")


def _table(study: Any, space: list[Dimension]) -> pd.DataFrame:
    rows = []
    for trial in study.trials:
        about = trial.user_attrs
        row = {"trial": trial.number, "state": trial.state.name.lower(), "value": trial.value}
        row |= {name: about.get(name) for name in ("std", "students", "seconds")}
        row |= {one.key: one.value(trial.params[one.key]) for one in space if one.key in trial.params}
        rows.append(row | {"problem": about.get("problem", "")})
    return pd.DataFrame(rows)


def _concluded(
    optuna: ModuleType, study: Any, space: list[Dimension], settings: Callable, out: Path, seed: int
) -> Tuned:
    complete = [one for one in study.trials if one.state == optuna.trial.TrialState.COMPLETE]
    if not complete:
        problems = {one.user_attrs.get("problem", "") for one in study.trials}
        raise ConfigError(f"no trial came to an end: {'; '.join(sorted(filter(None, problems)))}")
    best = max(complete, key=lambda one: one.value)
    values = {one.key: one.value(best.params[one.key]) for one in space}
    first = study.trials[0]
    before = first.value if first.value is not None else math.nan
    importance: dict[str, float] = {}
    if len(complete) >= 4:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        try:
            importance = dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (RuntimeError, ValueError):  # all trials have the same score
            importance = {}
    found = Tuned(out, _table(study, space), values, best.value, before, importance)
    write_text(out / "tuned.toml", to_toml(settings(values)))
    write_text(out / "report.md", _report(found, best))
    return found


def _report(found: Tuned, best: Any) -> str:
    before = (
        "the trial with the file's own settings failed"
        if math.isnan(found.before)
        else (f"with the file's own settings {found.before:.4f}")
    )
    lines = [
        "# Tuning",
        "",
        f"{counted(len(found.trials), 'trial')}. Best validation score: {found.value:.4f} ± {best.user_attrs['std']:.4f} "
        f"(standard deviation over {counted(best.user_attrs['students'], 'student')}); {before}.",
        "",
        "The best of many trials is better on these validation clips than it will be on others. Test clips were not scored: "
        "`embcomp run tuned.toml` does that, once.",
        "",
        "| setting | best | importance |",
        "|---|---|---|",
    ]
    for key, value in found.best.items():
        share = f"{found.importance[key]:.2f}" if key in found.importance else ""
        lines.append(
            f"| {key} | {value:.4g} | {share} |" if isinstance(value, float) else f"| {key} | {value} | {share} |"
        )
    return "\n".join(lines) + "\n"
