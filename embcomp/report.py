"""Tables for people."""

from __future__ import annotations

import math

import pandas as pd


def markdown_summary(name: str, summary: pd.DataFrame, metrics: dict) -> str:
    """The comparison of a run as Markdown.

    Parameters
    ----------
    name : str
        Of the run.
    summary : DataFrame
        See `embcomp.evaluation.summarise`.
    metrics : dict
        Content of metrics.json.
    """
    lines = [
        f"# {name}",
        "",
        f"Balanced accuracy: mean over {len(metrics['seeds'])} seeds ± their standard deviation, and a 95 % interval that resamples groups.",
        "",
        *table_lines(summary),
    ]
    notes = []
    for dataset, labels in metrics["left_out"].items():
        notes += [
            f"{dataset}: {count} clips labelled {label!r} left out, the students do not know it"
            for label, count in labels.items()
        ]
    for dataset, labels in metrics["not_tested"].items():
        if labels:
            notes.append(f"{dataset} has no clip of: {', '.join(labels)}")
    for dataset, count in metrics["cut"].items():
        if count:
            notes.append(
                f"{count} clips of {dataset} are longer than {metrics['audio_seconds']:g} s and were cut there"
            )
    if metrics["bad_clips"]:
        notes.append(f"{len(metrics['bad_clips'])} unusable clips left out (metrics.json names them)")
    return "\n".join(lines + ([""] + [f"- {note}" for note in notes] if notes else [])) + "\n"


def table_lines(summary: pd.DataFrame) -> list[str]:
    """A Markdown table: one row per variant, one column per setting and test set."""
    columns = list(dict.fromkeys(zip(summary["setting"], summary["train_dataset"], summary["test_dataset"])))
    titles = ["variant"] + [_title(*column) for column in columns]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for variant in dict.fromkeys(summary["variant"]):
        cells = [_escaped(variant)]
        for column in columns:
            match = summary["variant"] == variant
            for key, value in zip(("setting", "train_dataset", "test_dataset"), column):
                match &= summary[key] == value
            cells.append(_cell(summary[match].iloc[0]) if match.any() else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _title(setting: str, train: str, test: str) -> str:
    return f"{_escaped(test)}, unseen groups" if setting == "in-domain" else f"{_escaped(train)} → {_escaped(test)}"


def _cell(row: pd.Series) -> str:
    deviation = "" if math.isnan(row["std"]) else f" ± {row['std']:.3f}"
    interval = "" if math.isnan(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{deviation}{interval}"


def _escaped(text: str) -> str:
    return str(text).replace("\\", "\\\\").replace("|", "\\|")
