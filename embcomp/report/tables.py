"""The comparison as a short Markdown text, for terminals and READMEs."""

from __future__ import annotations

import math
import re

import pandas as pd

from embcomp.evaluation.scores import HEADLINE
from embcomp.report.svg import clean


def markdown_summary(name: str, summary: pd.DataFrame, metrics: dict) -> str:
    """The comparison of a run as Markdown.

    Parameters
    ----------
    name : str
        Of the run.
    summary : DataFrame
        See `embcomp.evaluation.scores.summarise`.
    metrics : dict
        Content of metrics.json.
    """
    lines = [
        f"# {escaped(name)}",
        "",
        f"{metric_words(metrics.get('metric', HEADLINE))}: mean over {len(metrics['seeds'])} seeds ± their standard deviation, and a 95 % interval that resamples {units_of(summary)}.",
        "",
        *table_lines(summary),
    ]
    for where, text in metrics.get("claim", {}).items():
        lines += ["", f"**{escaped(where)}:** {escaped(text)}"]
    found = [escaped(note) for note in guard_notes(metrics.get("guards")) + notes(metrics)]
    return "\n".join(lines + ([""] + [f"- {note}" for note in found] if found else [])) + "\n"


def metric_words(metric: str) -> str:
    """A metric's name to begin a sentence with."""
    return metric if metric == "mAP" else metric.replace("_", " ").capitalize()


def notes(metrics: dict) -> list[str]:
    """What a reader of the scores must know about the clips behind them, as plain text."""
    found = []
    for dataset, labels in metrics.get("left_out", {}).items():
        found += [
            f"{dataset}: {count} clips labelled {label!r} left out, the students do not know it"
            for label, count in labels.items()
        ]
    for dataset, labels in metrics.get("not_tested", {}).items():
        if labels:
            found.append(f"{dataset} has no clip of: {', '.join(map(str, labels))}")
    for dataset, count in metrics.get("cut", {}).items():
        if count:
            found.append(
                f"{count} clips of {dataset} are longer than {metrics['audio_seconds']:g} s and were cut there"
            )
    found += [str(note) for told in metrics.get("notes", {}).values() for note in told]
    if metrics.get("bad_clips"):
        found.append(f"{len(metrics['bad_clips'])} unusable clips left out (metrics.json names them)")
    return found


def guard_notes(guards: dict | None) -> list[str]:
    """What the leak guards found that a reader should weigh, or that they found nothing."""
    if not isinstance(guards, dict) or not isinstance(guards.get("checked"), list):
        return []
    found = []
    if guards.get("shared_groups"):
        found.append(f"{guards['shared_groups']} groups are in both training and test clips, which the settings accept")
    if guards.get("duplicate_clips"):
        found.append(
            f"{guards['duplicate_clips']} training clips repeat or overlap the audio of another on their own side"
        )
    if guards.get("joined_groups"):
        found.append(f"{guards['joined_groups']} groups hold audio of another and were kept together with it")
    passed = [f"Leak guards passed: {'; '.join(map(str, guards['checked']))}"]
    if guards.get("not_checked"):
        passed.append(f"Leak guards that could not be run: {'; '.join(map(str, guards['not_checked']))}")
    return [*found, *passed]


def columns_of(summary: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Setting, training set and test set of every column, in the order of the rows."""
    return list(dict.fromkeys(zip(summary["setting"], summary["train_dataset"], summary["test_dataset"])))


def table_lines(summary: pd.DataFrame) -> list[str]:
    """A Markdown table: one row per variant, one column per setting and test set."""
    columns = columns_of(summary)
    titles = ["variant"] + [escaped(column_title(*column, unseen_of(summary, column[2]))) for column in columns]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for variant in dict.fromkeys(summary["variant"]):
        cells = [escaped(variant)]
        for column in columns:
            match = summary["variant"] == variant
            for key, value in zip(("setting", "train_dataset", "test_dataset"), column):
                match &= summary[key] == value
            cells.append(_cell(summary[match].iloc[0]) if match.any() else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def unseen_of(summary: pd.DataFrame, test: str) -> str:
    """What the in-domain test clips of a data set are, after the word unseen; empty where the table does not say."""
    if "unseen" not in summary:
        return ""
    told = summary.loc[(summary["setting"] == "in-domain") & (summary["test_dataset"] == test), "unseen"]
    return next((str(words) for words in told if isinstance(words, str) and words), "")


def units_of(summary: pd.DataFrame) -> str:
    """What intervals resample: groups, or files or clips, where no groups are given."""
    told = summary["unit"] if "unit" in summary else pd.Series(dtype=object)
    units = [unit for unit in dict.fromkeys(told) if isinstance(unit, str) and unit]
    if set(units) <= {"groups"}:
        return "groups"
    others = {}
    for unit in ("files", "clips"):
        sets = dict.fromkeys(summary.loc[summary["unit"] == unit, "test_dataset"])
        if len(sets):
            others[unit] = "" if len(units) == 1 else f" of {', '.join(map(str, sets))}"
    named = " and ".join(f"{unit}{sets}" for unit, sets in others.items())
    return ("groups, and " * ("groups" in units)) + f"{named}, for which no groups are given"


def column_title(setting: str, train: str, test: str, unseen: str = "") -> str:
    """What a column of scores holds, in words.

    Parameters
    ----------
    unseen : str
        What the clips of an in-domain test are, see `unseen_of`.
    """
    if setting == "in-domain":
        return f"{test}, unseen {unseen}" if unseen else f"{test}, in-domain"
    if setting == "robustness":
        return test
    return f"{train} → {test}{setting.removeprefix('cross-dataset')}"


def escaped(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no new line."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(clean(text).split()))
    return re.sub(r"([\\|`*\[\]])", r"\\\1", text).replace("<", "&lt;")


def _cell(row: pd.Series) -> str:
    deviation = "" if math.isnan(row["std"]) else f" ± {row['std']:.3f}"
    interval = "" if math.isnan(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{deviation}{interval}"
