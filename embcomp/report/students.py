"""The students behind the scores: the best one's mistakes, what each costs, how each learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from embcomp.errors import ArtifactError, counted
from embcomp.evaluation.scores import Predictions
from embcomp.metrics import confusion
from embcomp.report import charts
from embcomp.report.blocks import Figure, Section, Table, Text
from embcomp.report.reading import Entry, Source, load_predictions
from embcomp.report.tables import columns_of
from embcomp.storage.files import fingerprint
from embcomp.storage.store import EmbeddingStore
from embcomp.students.classifier import Classifier
from embcomp.students.cost import Cost, latency, machine, student_cost

MAX_CLASSES = 50  # of a drawn confusion matrix


def mistakes(sources: list[Source]) -> Section | None:
    """Recall by class and confusion matrix of each run's best student, chosen on validation clips."""
    blocks = []
    for source in sources:
        best = source.validation()
        best = best[best.index.isin(source.students)]
        entries = [entry for entry in source.index if len(best) and entry.variant == best.index[0]]
        if not entries:
            continue
        blocks.append(
            Text(
                f"{source.prefix}Shown is {best.index[0]!r}, which has the best mean score of all students on validation clips "
                f"({best.iloc[0]:.3f}). It was not chosen by its test scores.",
            )
        )
        for column in columns_of(source.summary):
            chosen = [
                entry for entry in entries if (entry.setting, entry.test_dataset) == (column.setting, column.test)
            ]
            if chosen:
                blocks.append(_mistakes(source.test_prefix + source.title(column), chosen))
    return Section("Where the best student errs", tuple(blocks)) if blocks else None


def _mistakes(title: str, entries: list[Entry]) -> Figure:
    pieces = load_predictions(entries)
    classes = pieces[0].classes
    clips = f"{len(set(np.concatenate([piece.ids for piece in pieces])))} clips, {counted(len(pieces), 'student')} (folds and seeds)"
    if pieces[0].multi_label:
        return _precisions(title, pieces, clips)
    truth, predicted = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("index", "predicted"))
    counts = confusion(truth[truth >= 0], predicted[truth >= 0], len(classes))
    total = counts.sum(axis=1)
    share = counts / np.where(total, total, np.nan)[:, None]
    recall = np.diag(share)
    tested = [number for number in range(len(classes)) if total[number]]
    shown, remark = _lowest(tested, recall)
    panels = [charts.bars(f"{title}: recall", [charts.Row(classes[number], recall[number]) for number in shown])]
    if len(classes) <= MAX_CLASSES:
        names = [classes[number] for number in tested]
        panels.append(charts.matrix(f"{title}: confusion", names, classes, share[tested], (0, 1), ("truth", "answer")))
    caption = f"{title}: share of each class that is recognised, and what it is taken for; rows sum to 1. Pooled over {clips}.{remark}"
    rows = tuple(
        (classes[number], f"{total[number]}", f"{recall[number]:.3f}", _taken_for(counts[number], number, classes))
        for number in tested
    )
    return Figure(
        tuple(panels), caption, Table(("class", "answers", "recall", "most often taken for"), rows, folded=True)
    )


def _precisions(title: str, pieces: list[Predictions], clips: str) -> Figure:
    """Of several labels: how well each class ranks the clips it applies to before the others."""
    truth, probabilities = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("truth", "probabilities")
    )
    classes = pieces[0].classes
    known = [~np.isnan(column) for column in truth.T]
    positive = [int(column[here].sum()) for column, here in zip(truth.T, known)]
    tested = [number for number in range(len(classes)) if 0 < positive[number] < known[number].sum()]
    value = {
        number: float(average_precision_score(truth[known[number], number], probabilities[known[number], number]))
        for number in tested
    }
    shown, remark = _lowest(tested, value)
    rows = [charts.Row(classes[number], value[number]) for number in shown]
    panels = (charts.bars(f"{title}: average precision", rows),) if rows else ()
    caption = (
        f"{title}: average precision of each class over the clips whose answer is known. Clips may have several labels, so there "
        f"is no confusion matrix. Pooled over {clips}.{remark}"
    )
    table = tuple((classes[number], f"{positive[number]}", f"{value[number]:.3f}") for number in tested)
    return Figure(panels, caption, Table(("class", "positive answers", "average precision"), table, folded=True))


def _lowest(tested: list[int], value: Mapping[int, float] | np.ndarray) -> tuple[list[int], str]:
    """Classes to draw, and a remark where that is not all of them."""
    if len(tested) <= MAX_CLASSES:
        return tested, ""
    lowest = sorted(sorted(tested, key=lambda number: value[number])[:MAX_CLASSES])
    return lowest, f" Drawn are the {MAX_CLASSES} lowest of {len(tested)} classes; the table has all."


def _taken_for(counts: np.ndarray, number: int, classes: tuple[str, ...]) -> str:
    wrong = counts.copy()
    wrong[number] = 0
    return f"{classes[wrong.argmax()]} ({wrong.max()})" if wrong.max() else "nothing else"


def costs(sources: list[Source], measure_latency: bool) -> Section | None:
    """Size, multiplications, time and stored targets of each student against its score."""
    rows: list[dict] = []
    timed: dict[str, float] = {}
    for source in sources:
        for variant in source.students:
            entries = [entry for entry in source.index if entry.variant == variant and entry.student is not None]
            if entries:
                rows.append(
                    {
                        "source": source,
                        "variant": variant,
                        **_cost(source, entries[0], timed if measure_latency else None),
                    }
                )
    if not rows:
        return None
    for number, row in enumerate(rows):
        row["key"] = _letters(number)
        row["name"] = row["source"].prefix + row["variant"]
        row["columns"] = _scored(row["source"], row["variant"])
    kinds: list[tuple[str, str, Callable[[float], str]]] = [
        ("parameters", "parameters of the student", _thousands),
        ("macs", "multiply-accumulates a clip", _thousands),
        ("latency", "milliseconds a clip", lambda value: f"{value:.1f}"),
        ("target", "bytes of target kept a training clip", _bytes),
    ]
    panels, same = [], []
    for name, title, write in kinds:
        known = [row for row in rows if row[name] is not None]
        if len({row[name] for row in known}) == 1:
            same.append(f"{title}: {write(known[0][name])}")
        for column in dict.fromkeys(column for row in known for column in row["columns"]):
            here = [row for row in known if column in row["columns"]]
            # Where all cost the same there is nothing to trade.
            if len({row[name] for row in here}) > 1:
                dots = [charts.Dot(row["key"], row["name"], row[name], *row["columns"][column]) for row in here]
                panels.append(charts.trade_off(column, dots, title, write))
    return _cost_section(rows, panels, same, measure_latency)


def _cost_section(rows: list[dict], panels: list, same: list[str], measured: bool) -> Section:
    caption = "What each student costs against its score. Letters are those of the table."
    seconds = rows[0]["seconds"]
    clip, start = (f"clip of {seconds:g} s", "waveform") if seconds else ("input", "input")
    if same:
        caption += f" The same for all, hence not drawn: {'; '.join(same)}."
    caption += (
        f" Multiply-accumulates are of convolutions and linear layers for one {clip}; targets are "
        "float32 and only needed while training."
    )
    head = ["student", "parameters", "MACs a clip", "target a clip", "teacher's vectors on disk"]
    if measured:
        head.append("time a clip")
        caption += f" Time is the median from {start} to class scores, one clip and one thread, on {machine()}."
    table = Table(
        tuple(head),
        tuple(
            (
                f"{row['key']} · {row['name']}",
                f"{row['parameters']:,}",
                f"{row['macs']:,}",
                "unknown" if row["target"] is None else _bytes(row["target"]),
                _bytes(row["stored"]),
                *([f"{row['latency']:.2f} ms"] if measured else []),
            )
            for row in rows
        ),
    )
    if panels:
        return Section("Cost", (Figure(tuple(panels), caption, table),))
    return Section("Cost", (Text(caption, "note"), table))


def _cost(source: Source, entry: Entry, timed: dict[str, float] | None) -> dict:
    classifier = Classifier.load(entry.student)
    # Students of one kind differ in their numbers, not in their time: measured once, they do not seem to differ.
    kind = fingerprint(
        [asdict(classifier.student), asdict(classifier.audio), len(classifier.classes)]
        + [classifier.inputs.settings()] * bool(classifier.inputs.shape)
    )
    try:
        cost: Cost = student_cost(classifier)
        if timed is not None and kind not in timed:
            timed[kind] = 1000 * latency(classifier)
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"{entry.student}: the student does not run ({error}); train it again") from None
    store = None if entry.embedding is None else EmbeddingStore.open(entry.embedding)
    widths = {"compressed": _dim(source, entry.variant), "embedding": store.dim if store is not None else None}
    return {
        "parameters": cost.parameters,
        "macs": cost.macs,
        "seconds": cost.seconds,
        "latency": None if timed is None else timed[kind],
        # No vectors are kept without a teacher, nor where the teacher runs while the student trains.
        "target": None if (width := widths.get(entry.targets, 0)) is None else 4 * width,
        "stored": 0 if store is None else store.data.nbytes,
    }


def _dim(source: Source, variant: str) -> int | None:
    found = pd.to_numeric(source.scores.loc[source.scores["variant"] == variant, "dim"], errors="coerce").dropna()
    return int(found.iloc[0]) if len(found) else None


def _scored(source: Source, variant: str) -> dict[str, tuple[float, float, float]]:
    own = source.summary[source.summary["variant"] == variant]
    rows = {source.title(column): column.of(own).iloc[0] for column in columns_of(own)}
    return {title: (row["mean"], row["low"], row["high"]) for title, row in rows.items()}


def _letters(number: int) -> str:
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _thousands(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def _bytes(value: float) -> str:
    if value <= 0:
        return "none"
    power = min(int(math.log(value, 1024)), 4)
    return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
