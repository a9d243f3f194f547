"""How far a result reaches: other data sets, changed clips, smaller targets."""

from __future__ import annotations

import math

import pandas as pd

from embcomp.evaluation.dimension import MEASURES, recommend
from embcomp.evaluation.table import Setting
from embcomp.report import charts
from embcomp.report.blocks import Figure, Section, Table
from embcomp.report.reading import Source
from embcomp.report.tables import Column
from embcomp.report.words import interval_text, measure_words, number_text, signed_text

MAX_PANELS = 12  # of one figure; the table has the rest


def crossing(sources: list[Source]) -> Section | None:
    """Heat maps of training set by test set, one figure for each cross-dataset setting."""
    tables = [source.summary for source in sources if source.summary is not None]
    if not tables:
        return None
    everything = pd.concat(tables)
    everything = everything[~everything["variant"].isin([name for one in sources for name in one.student_probes])]
    blocks = []
    for setting in dict.fromkeys(everything["setting"]):
        if setting != Setting.IN_DOMAIN:
            blocks.append(
                _heat_map(
                    everything, setting, [name for source in sources for name in source.probes], measure_words(sources)
                )
            )
    return Section("Across data sets", tuple(blocks)) if blocks else None


def _heat_map(everything: pd.DataFrame, setting: str, probes: list[str], measure: str) -> Figure:
    shown = everything[everything["setting"].isin([Setting.IN_DOMAIN, setting])]
    shown = shown[shown["train_dataset"].isin(shown.loc[shown["setting"] == setting, "train_dataset"])]
    mean = shown.groupby(["variant", "train_dataset", "test_dataset"], sort=False)["mean"].mean()
    trains, tests = (list(dict.fromkeys(shown[f"{part}_dataset"])) for part in ("train", "test"))
    variants = sorted(dict.fromkeys(shown["variant"]), key=lambda name: name in probes)
    scale = _colours([mean.tolist()])
    if len(trains) == 1:
        values = [[mean.get((name, trains[0], test), math.nan) for test in tests] for name in variants]
        panels = [charts.matrix(f"trained on {trains[0]}", variants, tests, values, scale, ("variant", "tested on"))]
    else:
        panels = [
            charts.matrix(
                name,
                trains,
                tests,
                [[mean.get((name, train, test), math.nan) for test in tests] for train in trains],
                scale,
                ("trained on", "tested on"),
            )
            for name in variants
        ]
    ways = {
        Setting.CROSS_DATASET: "as trained",
        Setting.ADAPTED: "adapted: with normalisation statistics re-estimated on the unlabelled clips of the other set",
        Setting.TRANSDUCTIVE: "transductive: learned from unlabelled clips of the test set too, scored on its other groups",
        Setting.TRANSDUCTIVE_SAME: "transductive: learned, without labels, from the very clips that are scored",
    }
    unseen = set(shown.loc[shown["setting"] == Setting.IN_DOMAIN, "unseen"]) if "unseen" in shown else {"groups"}
    same = "the groups (speakers, machines) are not" if unseen == {"groups"} else "the clips are not"
    same = f"Where the two are the same, {same}. " if unseen else ""
    caption = (
        f"{measure} by training and test set, {ways.get(setting, setting)}. {same}"
        f"Colour runs from {scale[0]:g} to {scale[1]:g}."
    )
    rows = tuple((name, train, test, number_text(value)) for (name, train, test), value in mean.items())
    head = ("variant", "trained on", "tested on", "mean")
    return Figure(tuple(panels[:MAX_PANELS]), caption, Table(head, rows, folded=True))


def robustness(sources: list[Source]) -> Section | None:
    """Scores of students on changed test clips."""
    panels, rows, measured = [], [], []
    for source in sources:
        if source.shifted is None:
            continue
        shown = source.shifted[source.shifted["variant"].isin(source.students)]
        if shown.empty:
            continue
        measured.append(source)
        train = shown["train_dataset"].iloc[0]
        unchanged = source.summary[source.summary["setting"] == Setting.IN_DOMAIN].set_index("variant")["mean"]
        mean = shown.set_index(["variant", "shift"])["mean"]
        shifts = list(dict.fromkeys(shown["shift"]))
        values = [
            [unchanged.get(name, math.nan), *(mean.get((name, shift), math.nan) for shift in shifts)]
            for name in source.students
        ]
        names = ["unchanged", *shifts]
        title = source.test_prefix + source.title(Column(Setting.IN_DOMAIN, train, train))
        panels.append(charts.matrix(title, source.students, names, values, _colours(values), ("student", "clips")))
        rows += [
            (source.prefix + row["variant"], f"{row['test_dataset']}, {row['shift']}", number_text(row["mean"]))
            + (interval_text(row["low"], row["high"]),)
            for _, row in shown.iterrows()
        ]
    if not panels:
        return None
    caption = f"{measure_words(measured)} of the same students on the same test clips, changed on purpose; no student was trained on such clips."
    table = Table(("student", "clips", "mean", "interval"), tuple(rows), folded=True)
    return Section("Robustness to changed clips", (Figure(tuple(panels), caption, table),))


def dimension(sources: list[Source]) -> Section | None:
    """Curves of a sweep: score, variance and neighbours kept against size."""
    blocks = []
    for source in sources:
        if source.curve is None:
            continue
        full = source.curve[source.curve["method"] == "identity"].iloc[-1]
        kept = source.curve[source.curve["method"] != "identity"]
        choice = recommend(source.curve)
        if kept.empty:
            continue
        panels = []
        for measure, title in MEASURES.items():
            series = []
            for method, rows in kept.groupby("method", sort=False):
                ends = [f"{measure}_low", f"{measure}_high"]
                rows = rows.reindex(columns=["dim", measure, *ends])
                series.append(charts.Series(method, tuple(rows.itertuples(index=False, name=None))))
            level = (f"all {full['dim']:.0f}", full[measure])
            panels.append(charts.curves(source.prefix + title, series, level, "dimensions kept", choice.dim))
        rows = tuple(
            (
                row["method"],
                f"{row['dim']:.0f}",
                *(number_text(row[measure]) for measure in MEASURES),
                signed_text(row["behind"]),
            )
            for _, row in source.curve.iterrows()
        )
        caption = (
            f"How small the target may be, by cross-validation{_held_out(source.curve)}; bands are 95 % intervals over folds, the dashed line is "
            f"the full embedding. {choice}."
        )
        head = ("method", "dimensions", *MEASURES.values(), "behind the full embedding")
        blocks.append(Figure(tuple(panels), caption, Table(head, rows, folded=True)))
    return Section("Size of the target", tuple(blocks)) if blocks else None


def _held_out(curve: pd.DataFrame) -> str:
    """On what a sweep was scored; older curves do not say."""
    unseen = [words for words in curve.get("unseen", ()) if words]
    return f" on unseen {unseen[0]}" if unseen else ""


def _colours(values: list[list[float]]) -> tuple[float, float]:
    known = [value for row in values for value in row if math.isfinite(value)]
    return math.floor(min(known) * 10) / 10, math.ceil(max(known) * 10) / 10
