"""The comparison as a short Markdown text, for terminals and READMEs."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pandas as pd

from embcomp.errors import counted
from embcomp.evaluation.scores import HEADLINE
from embcomp.evaluation.table import Setting
from embcomp.report.svg import clean

KEYS = ("setting", "train_dataset", "test_dataset", "shift")  # of a column of scores


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
        f"{metric_words(metrics.get('metric', HEADLINE))}: mean over {len(metrics['seeds'])} seed{'s' if len(metrics['seeds']) != 1 else ''} ± their standard deviation, and a 95 % interval that resamples {units_of(summary)}.",
        "",
        *table_lines(summary),
    ]
    for where, text in metrics.get("claim", {}).items():
        lines += ["", f"**{escaped(where)}:** {escaped(text)}"]
    found = [
        escaped(note)
        for note in guard_notes(metrics.get("guards"), str(metrics.get("inputs", "audio"))) + notes(metrics)
    ]
    return "\n".join(lines + ([""] + [f"- {note}" for note in found] if found else [])) + "\n"


def metric_words(metric: str) -> str:
    """A metric's name to begin a sentence with."""
    return metric if metric == "mAP" else metric.replace("_", " ").capitalize()


def notes(metrics: dict) -> list[str]:
    """What a reader of the scores must know about the clips behind them, as plain text."""
    found = []
    for dataset, labels in metrics.get("left_out", {}).items():
        found += [
            f"{dataset}: {counted(count, 'clip')} labelled {label!r} left out, the students do not know it"
            for label, count in labels.items()
        ]
    for dataset, labels in metrics.get("not_tested", {}).items():
        if labels:
            found.append(f"{dataset} has no clip of: {', '.join(map(str, labels))}")
    for dataset, count in metrics.get("cut", {}).items():
        if count:
            found.append(
                f"{counted(count, 'clip')} of {dataset} {'is' if count == 1 else 'are'} longer than {metrics['audio_seconds']:g} s, cut there"
            )
    sets_of: dict[str, list[str]] = {}
    for dataset, some in metrics.get("notes", {}).items():
        for note in some:
            sets_of.setdefault(str(note), []).append(dataset)
    # Manifests of several sets may have one name: what is said of each is said once.
    found += [f"{', '.join(sets)}: {note}" if len(sets) > 1 else note for note, sets in sets_of.items()]
    if metrics.get("bad_clips"):
        found.append(f"{counted(len(metrics['bad_clips']), 'unusable clip')} left out (metrics.json names them)")
    return found


# What the leak guards compare, by what students got.
CONTENT = {"audio": "audio", "table": "row of inputs", "images": "image", "none": "vector"}


def guard_notes(guards: dict | None, inputs: str = "audio") -> list[str]:
    """What the leak guards found that a reader should weigh, or that they found nothing."""
    content = CONTENT.get(inputs, "audio")
    if not isinstance(guards, dict) or not isinstance(guards.get("checked"), list):
        return []
    found = []
    if guards.get("shared_groups"):
        found.append(
            f"{counted(guards['shared_groups'], 'group is', 'groups are')} in both training and test clips, which the settings accept"
        )
    if guards.get("duplicate_clips"):
        found.append(
            f"training clips that repeat {'or overlap ' * (content == 'audio')}the {content} of another on their own side: "
            f"{guards['duplicate_clips']}"
        )
    if guards.get("joined_groups"):
        found.append(
            f"{counted(guards['joined_groups'], 'group holds', 'groups hold')} {'' if content == 'audio' else 'a '}{content} of another and stayed together with it"
        )
    passed = [f"Leak guards passed: {'; '.join(map(str, guards['checked']))}"]
    if guards.get("not_checked"):
        passed.append(f"Leak guards that could not be run: {'; '.join(map(str, guards['not_checked']))}")
    return [*found, *passed]


class Column(NamedTuple):
    """A column of scores: what was tested how.

    Attributes
    ----------
    setting : str
        See `embcomp.evaluation.table.Setting`.
    train, test : str
        Data sets.
    shift : str
        How the test clips were changed; empty where they were not.
    """

    setting: str
    train: str
    test: str
    shift: str = ""

    def title(self, unseen: str = "") -> str:
        """The column in words.

        Parameters
        ----------
        unseen : str
            What the clips of an in-domain test are, see `unseen_of`.
        """
        if self.setting == Setting.IN_DOMAIN:
            return f"{self.test}, unseen {unseen}" if unseen else f"{self.test}, in-domain"
        if self.setting == Setting.ROBUSTNESS:
            return f"{self.test}, {self.shift}"
        pair = f"{self.train} → {self.test}" if self.train != self.test else self.test
        return pair if self.setting == Setting.CROSS_DATASET else f"{pair}, {self.setting}"

    def of(self, summary: pd.DataFrame) -> pd.DataFrame:
        """The rows of a summary that belong to this column."""
        match = pd.Series(True, index=summary.index)
        for name, value in zip(KEYS, self):
            match &= summary[name] == value
        return summary[match]


def columns_of(summary: pd.DataFrame) -> list[Column]:
    """Every column of a summary, in the order of the rows."""
    return [Column(*key) for key in dict.fromkeys(zip(*(summary[name] for name in KEYS)))]


def table_lines(summary: pd.DataFrame) -> list[str]:
    """A Markdown table: one row per variant, one column per setting and test set."""
    columns = columns_of(summary)
    titles = ["variant"] + [escaped(column.title(unseen_of(summary, column.test))) for column in columns]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for variant in dict.fromkeys(summary["variant"]):
        cells = [escaped(variant)]
        own = summary[summary["variant"] == variant]
        for column in columns:
            found = column.of(own)
            cells.append(_cell(found.iloc[0]) if len(found) else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def unseen_of(summary: pd.DataFrame, test: str) -> str:
    """What the in-domain test clips of a data set are, after the word unseen; empty where the table does not say."""
    if "unseen" not in summary:
        return ""
    found = summary.loc[(summary["setting"] == Setting.IN_DOMAIN) & (summary["test_dataset"] == test), "unseen"]
    return next((str(words) for words in found if isinstance(words, str) and words), "")


def units_of(summary: pd.DataFrame) -> str:
    """What intervals resample: groups, or files or clips, where no groups are given."""
    found = summary["unit"] if "unit" in summary else pd.Series(dtype=object)
    units = [unit for unit in dict.fromkeys(found) if isinstance(unit, str) and unit]
    if set(units) <= {"groups"}:
        return "groups"
    others = {}
    for unit in ("files", "clips"):
        sets = dict.fromkeys(summary.loc[summary["unit"] == unit, "test_dataset"])
        if len(sets):
            others[unit] = "" if len(units) == 1 else f" of {', '.join(map(str, sets))}"
    named = " and ".join(f"{unit}{sets}" for unit, sets in others.items())
    return ("groups, and " * ("groups" in units)) + f"{named}, for which no groups are given"


def escaped(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no new line."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(clean(text).split()))
    return re.sub(r"([\\|`*\[\]])", r"\\\1", text).replace("<", "&lt;")


def _cell(row: pd.Series) -> str:
    deviation = "" if math.isnan(row["std"]) else f" ± {row['std']:.3f}"
    interval = "" if math.isnan(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{deviation}{interval}"
