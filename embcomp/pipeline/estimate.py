"""What a run of many clips would take, reckoned from trials of few: time, memory, disk, bytes read and cost of each stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from embcomp.config import RunConfig
from embcomp.pipeline.calibration import MOST_FOLDS, Sets
from embcomp.pipeline.footprint import Footprint, Saving, fitted_line, steps_of
from embcomp.pipeline.machine import Machine
from embcomp.pipeline.trial import Counts, Point, Trial, patches_of

STAGES = (
    "check", "log-mels", "teacher", "embeddings", "joined", "views", "joined views", "compressors", "apply", "set-up",
    "steps", "validation", "tests", "probes", "results",
)  # fmt: skip
ABOUT = {
    "start": "start",
    "check": "read and check clips",
    "log-mels": "decode to log-mels",
    "teacher": "learn the teacher",
    "embeddings": "decode and embed",
    "joined": "join embeddings",
    "views": "changed clips",
    "joined views": "join changed clips",
    "compressors": "fit compressors",
    "apply": "compress targets",
    "set-up": "students: read inputs",
    "steps": "students: steps",
    "validation": "students: validation",
    "tests": "students: tests",
    "probes": "probes",
    "results": "scores and report",
}
DRAWS = 2e-9  # seconds a clip and step, of drawing a batch by weights


@dataclass(frozen=True)
class Stage:
    """One row of the plan.

    Attributes
    ----------
    stage, about : str
    jobs : int
        Pieces that workers share out; one of them is not divided.
    unit : str
        Of what `per_unit` is.
    per_unit : float
        Seconds a unit, without start-up.
    cpu_hours, hours : float
        Of processor time of one worker; and by the clock, of all workers.
    memory, disk, read : float
        Bytes: in memory at the peak, left on disk, read from disk.
    cost : float
        Hours times workers times the price.
    """

    stage: str
    about: str
    jobs: int
    unit: str
    per_unit: float
    cpu_hours: float
    hours: float
    memory: float
    disk: float
    read: float
    cost: float


@dataclass(frozen=True)
class Estimate:
    """A whole plan.

    Attributes
    ----------
    stages : list of Stage
    savings : list of Saving
    assumed : list of str
        What the numbers rest on.
    warnings : list of str
        What will not work.
    workers : int
    clips, total : int
        Of the set trained on, and of all sets.
    seconds : float
        Of a clip.
    calibrated : list of int
        Clips of the set trained on, in each trial.
    in_parts : float
        Hours where the manifest is in as many parts as there are workers, each embedded apart.
    """

    stages: list[Stage]
    savings: list[Saving]
    assumed: list[str]
    warnings: list[str]
    workers: int
    clips: int
    total: int
    seconds: float
    calibrated: list[int]
    in_parts: float

    @property
    def cpu_hours(self) -> float:
        """Of one worker."""
        return sum(one.cpu_hours for one in self.stages)

    @property
    def hours(self) -> float:
        """By the clock, with all workers."""
        return sum(one.hours for one in self.stages)

    @property
    def memory(self) -> float:
        """Bytes at the peak of one process."""
        return max(one.memory for one in self.stages)

    @property
    def disk(self) -> float:
        """Bytes."""
        return sum(one.disk for one in self.stages)

    @property
    def cost(self) -> float:
        """In the machine's currency."""
        return sum(one.cost for one in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        totals = {name: getattr(self, name) for name in ("cpu_hours", "hours", "memory", "disk", "cost")}
        return {**asdict(self), "totals": totals}


def regressors(stage: str, key: str, counts: Counts, patches: int = 0) -> tuple[float, ...]:
    """What the time of a stage's job grows with; the last but those that are 1 is its unit."""
    learned = counts.fit + counts.unlabelled
    if stage == "log-mels":
        return (1, counts.sets[int(key.split()[0])])
    if stage == "teacher":
        return (counts.fit + counts.validation + counts.unlabelled, patches)
    if stage in ("compressors", "apply"):
        return (1, learned)
    if stage == "set-up":
        return (1, counts.fit + counts.validation + counts.unlabelled)
    if stage == "steps":
        return (1,)
    if stage == "validation":
        return (1, counts.validation)
    if stage in ("tests", "results"):
        return (1, counts.tested)
    if stage == "probes":
        return (1, counts.fit + counts.tested)
    return (1, counts.total)


UNITS = {
    "check": "clip-second", "log-mels": "clip-second", "teacher": "clip-second", "embeddings": "clip-second",
    "views": "clip-second", "steps": "step",
}  # fmt: skip


def counts_of(sets: Sets, config: RunConfig) -> Counts:
    """What one fold of the run will have."""
    test = sets.clips // sets.folds if sets.folds > 1 else 0
    validation = round((sets.clips - test) * config.split.validation)
    sizes = (sets.clips, *sets.cross, *sets.unlabelled)
    return Counts(sizes, len(sets.unlabelled), sets.clips - test - validation, validation, test)


def estimate(config: RunConfig, sets: Sets, trial: Trial, machine: Machine | None = None, workers: int = 1) -> Estimate:
    """Reckon a whole run from trials.

    Parameters
    ----------
    config : RunConfig
    sets : Sets
        Of the run.
    trial : Trial
        From `embcomp.pipeline.calibration.calibrate`.
    machine : Machine, optional
        That the run is for; by default as this one.
    workers : int, default=1

    Returns
    -------
    Estimate
    """
    machine = machine or Machine()
    counts = counts_of(sets, config)
    found = _seconds(config, sets, trial, counts)
    sizes = Footprint(config, sets, trial, counts)
    start = trial.start / 3600 / machine.speed
    stages = [
        Stage("start", ABOUT["start"], workers, "worker", trial.start / machine.speed, start * workers, start,
              sizes.memory("start"), 0, 0, start * workers * machine.price)
    ]  # fmt: skip
    parts = start
    for stage in STAGES:
        jobs = {
            key: _jobs(trial, sets, stage, key) for known, key in trial.jobs if known == stage and (stage, key) in found
        }
        if not jobs:
            continue
        seconds = sum(found[stage, key][0] * count for key, count in jobs.items())
        count = 1 if stage in ("check", "results") else max(1, round(sum(jobs.values())))
        hours = seconds / 3600 / machine.speed / config.threads
        clock = hours / min(workers, count)
        parts += hours / workers if stage in ("check", "log-mels", "embeddings", "views", "apply") else clock
        slope = float(np.mean([found[stage, key][1] for key in jobs]))
        unit = UNITS.get(stage, "row")
        per_unit = slope / min(sets.seconds, config.audio.seconds) if unit == "clip-second" else slope
        stages.append(
            Stage(
                stage, ABOUT[stage], count, unit, per_unit / machine.speed, hours, clock, sizes.memory(stage),
                sizes.disk(stage, sum(jobs.values())), sizes.read(stage, jobs), clock * workers * machine.price,
            )
        )  # fmt: skip
    plan = Estimate(
        stages, sizes.savings(), _assumed(config, sets, machine, workers), [], workers, sets.clips, counts.total,
        sets.seconds, trial.sizes, parts,
    )  # fmt: skip
    plan.warnings.extend(_warnings(plan, config, sets, machine))
    return plan


def _jobs(trial: Trial, sets: Sets, stage: str, key: str) -> float:
    """How often a job is there in the whole run; folds beyond those of a trial count as those that it has."""
    alone, count = trial.alone[stage, key], trial.jobs[stage, key]
    if stage == "results":  # its time grows with what was tested
        return count / alone * max(1.0, sets.folds / MOST_FOLDS)
    return count * max(1.0, sets.folds / MOST_FOLDS) if count > alone else count


def _seconds(config: RunConfig, sets: Sets, trial: Trial, counts: Counts) -> dict[tuple[str, str], tuple[float, float]]:
    """Processor time of one job by stage and key, and what of it a unit takes."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in trial.points:
        # Log-mels of all sets lie on one line.
        key = " ".join(["all", *point.key.split()[1:]]) if point.stage == "log-mels" else point.key
        groups.setdefault((point.stage, key), []).append(point)
    variants = {one.name: one for one in config.variants}
    found = {}
    for stage, key in trial.jobs:
        known = " ".join(["all", *key.split()[1:]]) if stage == "log-mels" else key
        points = groups.get((stage, known))
        if not points:
            continue
        line = fitted_line(
            [regressors(stage, one.key, one.counts, one.patches) for one in points], [one.seconds for one in points]
        )
        patches = 0
        if stage == "teacher":
            teacher = variants[key].teacher
            learned = counts.fit + counts.validation + counts.unlabelled
            options = next((one.options() for one in teacher.members or [teacher] if one.learns), {})
            patches = patches_of(options, learned, min(sets.seconds, config.audio.seconds))
        seconds = float(np.dot(line, regressors(stage, key, counts, patches)))
        slope = float(line[0] if stage in ("teacher", "steps") else line[1])
        if stage in ("steps", "validation"):
            steps, checks = steps_of(config, key, counts)
            if stage == "steps":
                slope += DRAWS * (counts.fit + counts.unlabelled)
                seconds = steps * slope
            else:
                seconds *= checks
        found[stage, key] = seconds, slope
    return found


def _assumed(config: RunConfig, sets: Sets, machine: Machine, workers: int) -> list[str]:
    cut = min(sets.seconds, config.audio.seconds)
    notes = [
        f"each clip is {sets.seconds:g} s long" + (f"; of it audio.seconds = {cut:g} s are used" if cut < sets.seconds else ""),
        "hours are processor time: nothing else runs, and disks and networks keep up",
        "time grows in proportion to clips, rows and steps beyond what starting takes",
        "no student stops early" if any(one.training.patience for one in config.variants) else "every student takes all of its steps",
        "clips, groups and classes are spread evenly over the folds",
    ]  # fmt: skip
    if any(one.training.minutes for one in config.variants):
        notes.append("training.minutes is left aside: steps are counted as they are set")
    if workers > 1:
        notes.append(
            "workers share out the jobs of a stage; a job is not divided, and each worker has memory of its own"
        )
    if any(one.training.processes > 1 for one in config.variants):
        notes.append(
            "each student is trained by one process: training.processes shortens its hours, not its core hours"
        )
    if machine.speed != 1:
        notes.append(f"a core of {machine.name} is {machine.speed:g} times as fast as one of this machine")
    return notes


def _warnings(plan: Estimate, config: RunConfig, sets: Sets, machine: Machine) -> list[str]:
    found = []
    if machine.memory_gb and plan.memory * plan.workers > machine.memory_gb * 1e9:
        found.append(
            f"{plan.workers} process(es) of {plan.memory / 1e9:.1f} GB do not fit into the {machine.memory_gb:g} GB of {machine.name}"
        )
    if machine.disk_gb and plan.disk > machine.disk_gb * 1e9:
        found.append(f"{plan.disk / 1e9:.0f} GB do not fit onto the {machine.disk_gb:g} GB of disk of {machine.name}")
    if machine.cores and plan.workers * config.threads > machine.cores:
        found.append(
            f"{plan.workers} workers of {config.threads} threads are more than the {machine.cores} cores of {machine.name}"
        )
    held = next((one for one in plan.stages if one.stage == "set-up"), None)
    if held is not None and held.memory > 64e9 and config.device != "cpu":
        found.append(
            "on a GPU log-mels of all clips with labels are held in memory; name clips whose labels are not needed in "
            "data.unlabelled, from where they are read batch by batch"
        )
    return found
