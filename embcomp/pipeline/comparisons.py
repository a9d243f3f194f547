"""What a finished run says of its variants: paired comparisons, a sentence for each test set, and every class."""

from __future__ import annotations

import pandas as pd

from embcomp.evaluation.comparison import compare, sentence
from embcomp.evaluation.scores import Predictions, as_rows
from embcomp.evaluation.table import Setting
from embcomp.metrics.classes import per_class
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.stages.scoring import test_columns

ABOUT = ("setting", "train_dataset", "test_dataset", "shift", "probe")
Tested = dict[tuple[str, ...], dict[str, list[Predictions]]]
PROBE_WORDS = {"probe": "linear probe", "k-NN": "nearest neighbours"}
COMPARED = (
    *(Setting.IN_DOMAIN, Setting.CROSS_DATASET, Setting.ADAPTED),
    *(Setting.TRANSDUCTIVE, Setting.TRANSDUCTIVE_SAME),  # each among its own: only such variants have such rows
)


def comparisons(plan: Plan, tested: Tested, unseen: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every variant against the baseline on each test set, or all pairs of variants, and a sentence for each.

    The baseline is the first variant without a teacher, else the first of all; where there are no students, the first
    embedding as it is. The corrections are for the variants of one test set, and of one kind of probe.

    Parameters
    ----------
    plan : Plan
    tested : dict
        See `tested_students`.
    unseen : str
        What the test clips of the set trained on are, after the word unseen.

    Returns
    -------
    table : DataFrame
        Rows of comparisons.csv; differences without a value are left out, and none are there with one variant.
    claims : dict of str to str
        By test set.
    """
    variants = plan.context.config.variants
    baseline = next((one.name for one in variants if one.transfer.method == "none"), variants[0].name)
    options = plan.context.config.evaluation
    tables, claims = [], {}
    for (setting, train, test, _, probe), by_variant in tested.items():
        if setting not in COMPARED or len(by_variant) < 2:
            continue
        table = compare(
            by_variant,
            baseline if plan.context.has_students and baseline in by_variant else next(iter(by_variant)),
            all_pairs=options.all_pairs,
            threshold=options.threshold,
            bootstrap=options.bootstrap,
            confidence=options.confidence,
            seed=options.seed,
        )
        known = table[table["p"].notna()].reset_index(drop=True)
        tables.append(known.assign(setting=setting, train_dataset=train, test_dataset=test))
        units = {dataset.manifest.name: dataset.manifest.unit for dataset in plan.context.datasets}
        where = f"{test}, unseen {unseen}" if setting == Setting.IN_DOMAIN else f"{train} to {test}"
        where += "" if setting in (Setting.IN_DOMAIN, Setting.CROSS_DATASET) else f", {setting}"
        found = sentence(table, units[test])
        if probe:
            where += f", {PROBE_WORDS[probe]}"
            found = found.replace("of the students trained here", "of the probes fitted here")
        claims[where] = found
    return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()), claims


def class_scores(plan: Plan, tested: Tested) -> pd.DataFrame:
    """Rows of per_class.csv: each class of every student variant and test set, its seeds and folds pooled."""
    tables = []
    for about, by_variant in tested.items():
        for variant, pieces in by_variant.items():
            table = per_class(as_rows(pieces, plan.context.config.evaluation.threshold), pieces[0].classes)
            tables.append(table.assign(variant=variant, **dict(zip(ABOUT, about))).drop(columns="probe"))
    if not tables:
        return pd.DataFrame()
    found = pd.concat(tables, ignore_index=True)
    first = ["variant", *ABOUT[:-1]]
    return found[[*first, *(name for name in found if name not in first)]]


def tested_students(plan: Plan) -> Tested:
    """Predictions of students by the columns `ABOUT` and by variant, in the order of seeds and folds; of probes without."""
    found: Tested = {}
    for one in plan.students or [one for one in plan.probes if one.job.embeddings]:
        for test in one.tests:
            columns = one.about | test_columns(plan.context, test)
            about = tuple(columns[name] for name in ABOUT)
            found.setdefault(about, {}).setdefault(test.variant, []).append(Predictions.load(test.path))
    return found
