"""What a student or probe is tested on, and the clips of a data set that are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embcomp.config import VariantConfig
from embcomp.data.labels import MappedLabels, map_labels
from embcomp.evaluation.table import Setting
from embcomp.pipeline.stages.base import Job, RunContext
from embcomp.pipeline.stages.features import shift_key
from embcomp.pipeline.stages.pools import adapted_sets, target_parts
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.files import fingerprint
from embcomp.transfer import Source

TRANSDUCTIVE = {"groups": Setting.TRANSDUCTIVE, "clips": Setting.TRANSDUCTIVE_SAME}
REESTIMATE_VERSION = 1  # raised when adaptation gives other statistics on the same clips


@dataclass(frozen=True)
class Test:
    """One test of a student or probe: one file of predictions.

    Attributes
    ----------
    dataset : int
        Number of the data set.
    setting : Setting
    shift : str
        How the clips are changed, see `embcomp.audio.shifts`; empty where they are not.
    variant : str
        What is tested, in the tables.
    probe : str
        Name in `embcomp.evaluation.probes.PROBES`; empty for a student.
    vectors : str
        What the probe is fitted on, one of `Vectors`; empty for a student and the most frequent class.
    path : str
        Where the predictions lie.
    transductive : str
        How clips of the data set were learned from, see `embcomp.pipeline.stages.pools.adapts`; empty where none was.
    """

    dataset: int
    setting: Setting
    shift: str
    variant: str
    probe: str
    vectors: str
    path: str
    transductive: str = ""


@dataclass(frozen=True)
class TestedJob(Job):
    """A job that ends in predictions.

    Attributes
    ----------
    split : str
        Key.
    tests : list of Test
    """

    split: str
    tests: list[Test]

    def __post_init__(self) -> None:
        # JSON has no dataclasses: a worker gets the fields of each.
        tests = [test if isinstance(test, Test) else Test(**test) for test in self.tests]
        object.__setattr__(self, "tests", tests)

    @property
    def outputs(self) -> list[str]:
        """What the job writes."""
        return [test.path for test in self.tests]


@dataclass(frozen=True)
class Tested:
    """One student, or the probes on one kind of vector, of one split.

    Attributes
    ----------
    variant : str
        Name of the student, or of the vectors.
    split : Split
    about : dict
        Columns of scores.csv.
    job : TestedJob
    student : Path or None
        None for a probe.
    """

    variant: str
    split: Split
    about: dict[str, Any]
    job: TestedJob
    student: Path | None = None

    @property
    def tests(self) -> list[Test]:
        """What it is tested on."""
        return self.job.tests


def tests_for(
    context: RunContext,
    split: Split,
    key: str,
    names: dict[str, str],
    vectors: str = "",
    changed_clips: bool = True,
    how: str = "",
) -> list[Test]:
    """Every test of a student or of probes.

    Parameters
    ----------
    key : str
        Of the student, or of what the probes are fitted on.
    names : dict of str to str
        By kind of probe, empty for a student: what is tested, in the tables.
    vectors : str
        What the probes are fitted on; empty for a student.
    changed_clips : bool, default=True
        Also on changed test clips.
    how : str
        How it learned from sets that are tested, see `embcomp.pipeline.stages.pools.adapts`.
    """
    tests: list[Test] = []
    adapted = adapted_sets(context, split) if how else []
    for number, dataset in enumerate(context.datasets):
        tested = fingerprint([dataset.key, context.label_map if number and context.label_map else ""])
        here = how if number in adapted else ""
        for setting, shift, suffix in _settings(context, number, split, changed_clips, here):
            for kind, variant in names.items():
                file = f"{key}{'-' * bool(kind)}{kind}-{tested}{suffix}.csv"
                path = context.space.stage("predictions", file)
                looked_at = vectors if kind != "majority" else ""
                tests.append(Test(number, setting, shift, variant, kind, looked_at, str(path), here))
    return tests


def _settings(
    context: RunContext, number: int, split: Split, changed_clips: bool, transductive: str
) -> Iterator[tuple[Setting, str, str]]:
    """The ways to test on data set `number`: setting, shift, and the end of the name of its predictions."""
    if transductive:
        # What was learned from its clips has no score that could pass for one without.
        yield TRANSDUCTIVE[transductive], "", f"-{transductive}-{fingerprint([context.config.split.seed])}"
    elif number:
        yield Setting.CROSS_DATASET, "", ""
        if context.config.evaluation.reestimate:
            yield Setting.ADAPTED, "", f"-reestimated-{REESTIMATE_VERSION}"
    elif split.test:
        yield Setting.IN_DOMAIN, "", ""
        for text, shift in context.shifts.items() if changed_clips else ():
            yield Setting.ROBUSTNESS, text, f"-{shift_key(context, shift)}"


def tests_to_do(context: RunContext, job: TestedJob, split: Split) -> Iterator[tuple[Test, Dataset, MappedLabels]]:
    """Tests of a job whose predictions are not there, with the data set and its clips that are scored."""
    for test in job.tests:
        if not Path(test.path).exists():
            yield test, context.datasets[test.dataset], scored_clips(context, test.dataset, split, test.transductive)


def scored_clips(context: RunContext, number: int, split: Split, transductive: str = "") -> MappedLabels:
    """The clips of data set `number` that a student of `split` is scored on.

    All of a further data set, whose labels may need a map; the test part of the one trained on. Of either the part that
    is scored where a student learned from the other, see `embcomp.pipeline.stages.pools.target_parts`.
    """
    dataset = context.datasets[number]
    if number and not transductive:
        return map_labels(dataset.manifest.labels, split.classes, context.label_map, split.multi_label)
    ids = target_parts(context, number, split, transductive)[1] if transductive else split.test
    rows = dataset.rows(ids)
    labels = [dataset.manifest.labels[row] for row in rows]
    mapped = map_labels(labels, split.classes, context.label_map if number else None, split.multi_label)
    return MappedLabels(mapped.labels, rows[mapped.kept], mapped.left_out, mapped.not_tested)


def test_columns(context: RunContext, test: Test) -> dict[str, str]:
    """The columns of scores.csv that say what a test is of."""
    manifest = context.datasets[test.dataset].manifest
    return {
        "test_dataset": manifest.name,
        "setting": test.setting,
        "shift": context.shifts[test.shift].words if test.shift else "",
        "probe": test.probe,
        "vectors": test.vectors,
        "transductive": test.transductive,
        "unit": f"{manifest.unit}s",
    }


def columns(context: RunContext, variant: VariantConfig, split: Split) -> dict[str, Any]:
    """The columns of scores.csv that say how a student was made."""
    compressed = variant.transfer.compresses
    return {
        "method": variant.transfer.method,
        "teacher": "" if variant.transfer.source == Source.NONE else variant.teacher.spec,
        "compressor": f"{variant.compressor.method}/{variant.compressor.objective}" if compressed else "",
        "dim": variant.compressor.dim if compressed else "",
        "seed": split.seed,
        "train_dataset": context.source.manifest.name,
    }
