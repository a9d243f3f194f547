"""What a run knows of its students, for their model cards."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from embcomp.card.facts import Evidence, Score
from embcomp.card.writing import write_card_unless_edited
from embcomp.errors import ArtifactError
from embcomp.evaluation.table import Setting, read_scores
from embcomp.storage.files import DIGITS, read_json

SHOWN = tuple(setting for setting in Setting if setting not in (Setting.ROBUSTNESS, Setting.VALIDATION))


def evidence_of(table: pd.DataFrame, guards: Mapping[str, Any] | None, variant: str = "", of: str = "") -> Evidence:
    """Scores of a table, and guards, as a card shows them.

    Parameters
    ----------
    table : DataFrame
        As `embcomp.read_scores` gives it.
    variant : str
        Rows of this variant only, its seeds pooled; empty is all rows.
    """
    if variant and "variant" in table:
        table = table[(table["variant"] == variant) & (table["seed"].astype(str) == "all")]
    if "probe" in table:
        table = table[table["probe"].fillna("") == ""]
    scores = []
    for row in table.to_dict("records"):
        if row.get("setting", Setting.AS_TRAINED) in SHOWN and not row.get("shift") and not math.isnan(row["value"]):
            low, high = (None if pd.isna(row.get(name)) else _as_kept(row[name]) for name in ("low", "high"))
            names = (str(row.get(name, "")) for name in ("train_dataset", "test_dataset"))
            setting = str(row.get("setting", Setting.AS_TRAINED))
            n = 0 if pd.isna(row.get("n")) else int(row["n"])
            scores.append(Score(*names, setting, str(row["metric"]), _as_kept(row["value"]), low, high, n))
    guards = guards if isinstance(guards, Mapping) else {}
    return Evidence(
        tuple(scores), of, tuple(map(str, guards.get("checked", ()))), tuple(map(str, guards.get("not_checked", ())))
    )


def _as_kept(value: float) -> float:
    """To the digits of ``scores.csv``, so that a card written from there says the same."""
    return float(f"{value:.{DIGITS}g}")


def write_cards(students: Mapping[str, list[Path]], table: pd.DataFrame, guards: Mapping[str, Any]) -> None:
    """Write the card of every student of a run; one that was edited is left as it is.

    Parameters
    ----------
    students : mapping of str to list of Path
        Folders, by variant.
    """
    for variant, folders in students.items():
        evidence = evidence_of(table, guards, variant, pooled(len(folders)))
        for folder in folders:
            write_card_unless_edited(folder, evidence, name=variant)


def pooled(count: int) -> str:
    """What the scores of a variant are of."""
    return f"{count} students trained alike, folds and seeds pooled; this is one of them" if count > 1 else ""


def evidence_from_run(student: str | os.PathLike) -> tuple[Evidence, str] | None:
    """What the run that a student lies in says of it, and the name of its variant; None where it lies in none.

    Raises
    ------
    ArtifactError
        The run's tables are damaged.
    """
    student = Path(student).resolve()
    run = student.parent.parent.parent
    if (
        student.parent.name != "students"
        or student.parent.parent.name != "stages"
        or not (run / "scores.csv").is_file()
    ):
        return None
    about = read_json(student / "config.json").get("about", {})
    variant = str(about.get("variant", ""))
    metrics, index = read_json(run / "metrics.json"), read_json(run / "predictions.json")
    try:
        folders = {row["student"] for row in index if row["variant"] == variant and row.get("student")}
        guards = metrics.get("guards")
    except (AttributeError, KeyError, TypeError):
        raise ArtifactError(f"the records of {run} are damaged; run again with the same command") from None
    return evidence_of(read_scores(run / "scores.csv"), guards, variant, pooled(len(folders))), variant
