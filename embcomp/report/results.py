"""What a run found: the claim, the scores, the differences."""

from __future__ import annotations

import math
import tomllib

import pandas as pd

from embcomp.evaluation.dimension import recommend
from embcomp.report import charts
from embcomp.report.blocks import Block, Cell, Figure, Folded, Section, Table, Text
from embcomp.report.reading import Source
from embcomp.report.tables import Column, columns_of, units_of
from embcomp.report.words import interval_text, measure_words, number_text, p_text, signed_text

FLOORS = {"table": "the columns that students see", "images": "pixels"}
MAX_PANELS = 12  # of one figure; the table has the rest


def claims(sources: list[Source]) -> tuple[list[Text], list[Text]]:
    """What each run shows: the first claim of each, to begin with, and the others."""
    found = [[Text(source.prefix + text, "claim") for text in claim(source)] for source in sources]
    first = [texts[0] for texts in found]
    if len(first) == 1:
        first = [Text(first[0].text, "lead")]
    return first, [text for texts in found for text in texts[1:]]


def claim(source: Source) -> list[str]:
    """The run's own claims, which rest on paired comparisons; without any, its means and what they cannot say."""
    found = source.metrics.get("claim")
    if isinstance(found, dict) and found:
        # Older runs wrote of groups even where there were none.
        unseen = f", unseen {source.unseen}" if source.unseen else ", in-domain"
        return [f"{where.replace(', unseen groups', unseen)}: {text}" for where, text in found.items()]
    return [found] if isinstance(found, str) and found else [_means(source)]


def _means(source: Source) -> str:
    if source.curve is not None:
        return f"Recommended: {recommend(source.curve)}."
    students = source.summary[source.summary["variant"].isin(source.students)]
    if students.empty:
        return "Means and intervals only: no student was scored on a test set."
    first = columns_of(students)[0]
    here = first.of(students).sort_values("mean")
    low, high = here.iloc[0], here.iloc[-1]
    if len(here) == 1:
        spread = f"the student {low['variant']!r} has {number_text(low['mean'])}"
    else:
        spread = f"students lie between {number_text(low['mean'])} ({low['variant']}) and {number_text(high['mean'])} ({high['variant']})"
    return (
        f"Means and intervals only: on {source.title(first)}, {spread} {source.words}; "
        "without paired comparisons this does not say that any of them is better."
    )


def opening(sources: list[Source]) -> Section:
    """The claims and the scores: students by test set, runs side by side; probes in a table of their own."""
    first, others = claims(sources)
    measured = [source for source in sources if source.summary is not None]
    if not measured:
        return Section("", (*first, *others))
    intro = f"{measure_words(measured)}: mean over seeds ± their standard deviation, and below it {_interval_words(measured)}"
    scale = _scale([source.summary for source in measured])
    caption = f"{intro} The strip draws it from {scale[0]:g} to {scale[1]:g}."
    if not any(source.students for source in measured):
        note = (
            "No student was trained: simple classifiers on stored vectors, and on what compressors left of them, are compared. "
            "A row without a prefix is a logistic regression, k-NN the nearest neighbours by cosine."
        )
        return Section("", (*first, Text(note, "note"), _score_table(measured, "probes", caption, scale), *others))
    blocks: list[Block] = [*first, _score_table(measured, "students", caption, scale), *others]
    if any(source.probes for source in measured):
        floors = " or ".join(dict.fromkeys(FLOORS.get(source.inputs, "log-mels") for source in measured))
        blocks += [
            Text("Ceiling and floor", "head"),
            Text(
                "Simple classifiers on frozen vectors: a probe is a logistic regression. On the teacher's own embedding it is what "
                f"a model with the teacher inside reaches, on compressed vectors what compression left; {floors} and the most "
                "frequent class are what is there without either. None of them is a student.",
                "note",
            ),
            _score_table(measured, "probes", "Measured as the students are.", scale),
        ]
    if any(source.student_probes for source in measured):
        table = _score_table(measured, "student_probes", "The same classifiers on the embeddings of students.", scale)
        blocks.append(Folded("What the students' embeddings hold", (table,)))
    return Section("", tuple(blocks))


def _score_table(sources: list[Source], which: str, caption: str, scale: tuple[float, float]) -> Table:
    columns = [(source, column) for source in sources for column in columns_of(source.summary)]
    names = list(dict.fromkeys(name for source in sources for name in getattr(source, which)))
    # A column in which none of these was scored would be empty.
    columns = [
        (source, column)
        for source, column in columns
        if column.of(source.summary)["variant"].isin(getattr(source, which)).any()
    ]
    rows = []
    for name in names:
        cells: list[str | Cell] = [name]
        for source, column in columns:
            found = column.of(source.summary)
            found = found[(found["variant"] == name) & found["variant"].isin(getattr(source, which))]
            cells.append(_score_cell(found.iloc[0]) if len(found) else "")
        rows.append(tuple(cells))
    titles = [source.test_prefix + source.title(column) for source, column in columns]
    return Table(("student" if which == "students" else "probe", *titles), tuple(rows), caption, scale)


def _score_cell(row: pd.Series) -> Cell:
    text = number_text(row["mean"]) + ("" if math.isnan(row["std"]) else f" ± {row['std']:.3f}")
    return Cell(text, interval_text(row["low"], row["high"]), (row["low"], row["mean"], row["high"]))


def score_figure(sources: list[Source]) -> Section | None:
    """Dots with intervals, one panel for each test set."""
    panels, rows, tables = [], [], [source for source in sources if source.summary is not None]
    if not tables:
        return None
    scale = _scale([source.summary for source in tables])
    for source in tables:
        guessing = source.guessing()
        for column in columns_of(source.summary):
            found = column.of(source.summary)
            found = pd.concat([found[found["variant"].isin(names)] for names in (source.students, source.probes)])
            title = source.test_prefix + source.title(column)
            shown = [
                charts.Row(row["variant"], row["mean"], row["low"], row["high"], int(row["variant"] in source.probes))
                for _, row in found.iterrows()
            ]
            panels.append(charts.intervals(title, shown, scale, guessing))
            rows += [
                (
                    title,
                    row["variant"],
                    number_text(row["mean"]),
                    interval_text(row["low"], row["high"]),
                    f"{row['n']:.0f}",
                )
                for _, row in found.iterrows()
            ]
    any_student = any(source.students for source in tables)
    marks, which = ("round marks are students, diamonds", "students") if any_student else ("marks are", "variants")
    caption = (
        f"{measure_words(tables)} by test set; {marks} simple classifiers on frozen vectors. Lines are "
        + _interval_words(tables)
        + f" Intervals of two {which} that overlap do not mean that the two are alike: they are scored on the same clips, "
        "and the paired differences are the test."
    )
    floors = {source.name: source.guessing() for source in tables}
    if any(floors.values()):
        levels = sorted({f"{floor:.3f}" for floor in floors.values() if floor})
        caption += f" The vertical line is the score of guessing, one over the number of classes: {', '.join(levels)}."
    values = Table(("test set", "variant", "mean", "interval", "clips"), tuple(rows), folded=True)
    return Section("Scores by test set", (Figure(tuple(panels[:MAX_PANELS]), caption, values),))


def differences(sources: list[Source]) -> Section | None:
    """Paired differences where the run compared; else differences of means, which have no interval."""
    paired = [source for source in sources if source.comparisons is not None]
    blocks = []
    if paired:
        blocks.append(_paired(paired))
    plain = [source for source in sources if source.summary is not None and source.comparisons is None]
    plain = [source for source in plain if len(source.students) > 1]
    if plain:
        blocks.append(_unpaired(plain))
    return Section("Differences", tuple(blocks)) if blocks else None


def _paired(paired: list[Source]) -> Figure:
    panels, rows = [], []
    shown = [source.comparisons[source.comparisons["metric"] == source.metric] for source in paired]
    everything = [_difference_row(row) for table in shown for _, row in table.iterrows()]
    scale = charts.scale_of(everything, (0.0,)) if everything else (-1.0, 1.0)
    for source, table in zip(paired, shown):
        for (setting, test), part in table.groupby(["setting", "test_dataset"], sort=False):
            trained = source.summary[(source.summary["setting"] == setting) & (source.summary["test_dataset"] == test)]
            train = trained["train_dataset"].iloc[0] if len(trained) else ""
            title = source.test_prefix + source.title(Column(setting, train, test))
            panels.append(
                charts.intervals(title, [_difference_row(row) for _, row in part.iterrows()], scale, 0.0, signed_text)
            )
            rows += [
                (
                    title,
                    row["variant"],
                    row["baseline"],
                    signed_text(row["difference"]),
                    interval_text(row["low"], row["high"]),
                    p_text(row["p_corrected"]),
                )
                for _, row in part.iterrows()
            ]
    caption = (
        f"{measure_words(paired)} of the variant minus that of its baseline on the same clips, with the interval of the difference; "
        "p is corrected for the number of comparisons. An interval that holds zero shows no difference."
    )
    head = ("test set", "variant", "baseline", "difference", "interval", "p, corrected")
    return Figure(tuple(panels[:MAX_PANELS]), caption, Table(head, tuple(rows), folded=True))


def _difference_row(row: pd.Series) -> charts.Row:
    return charts.Row(
        f"{row['variant']} − {row['baseline']}",
        row["difference"],
        row["low"],
        row["high"],
        note=f", p {p_text(row['p_corrected'])}",
    )


def _unpaired(plain: list[Source]) -> Figure:
    found = []
    for source in plain:
        none = source.scores.loc[source.scores["method"] == "none", "variant"]
        baseline = none.iloc[0] if len(none) else source.students[0]
        for column in columns_of(source.summary):
            part = column.of(source.summary).set_index("variant")["mean"]
            others = [name for name in source.students if name != baseline and name in part.index]
            if baseline in part.index and others:
                title = source.test_prefix + source.title(column)
                found.append(
                    (title, [charts.Row(f"{name} − {baseline}", part[name] - part[baseline]) for name in others])
                )
    scale = charts.scale_of([row for _, rows in found for row in rows], (0.0,)) if found else (-1.0, 1.0)
    panels = [charts.intervals(title, rows, scale, 0.0, signed_text) for title, rows in found]
    caption = (
        f"Differences of mean {measure_words(plain).lower()} from the student without a teacher, or the first listed. They have no interval: "
        "there is no comparisons.csv here, and means alone do not show whether a difference is more than noise."
    )
    rows = tuple((title, row.label, signed_text(row.value)) for title, rows in found for row in rows)
    return Figure(tuple(panels[:MAX_PANELS]), caption, Table(("test set", "difference", "of means"), rows, folded=True))


def _scale(tables: list[pd.DataFrame]) -> tuple[float, float]:
    together = pd.concat([table[name] for table in tables for name in ("mean", "low", "high")]).dropna()
    return min(0.0, math.floor(together.min() * 10) / 10), max(1.0, math.ceil(together.max() * 10) / 10)


def _interval_words(sources: list[Source]) -> str:
    shares = set()
    for source in sources:
        try:
            shares.add(tomllib.loads(source.config)["evaluation"]["confidence"])
        except (tomllib.TOMLDecodeError, KeyError, TypeError):
            shares.add(None)
    share = shares.pop() if len(shares) == 1 else None
    named = f"a {share:.0%} interval" if isinstance(share, float) else "an interval"
    units = units_of(pd.concat([source.summary for source in sources]))
    return f"{named} that resamples {units}, all seeds pooled."
