"""The table of scores: what its rows are, and how to read it by whichever version it was written."""

from __future__ import annotations

import os
from enum import StrEnum

import pandas as pd

from embcomp.errors import ArtifactError

TEXT = (
    *("method", "teacher", "compressor", "dim", "seed", "train_dataset", "test_dataset", "metric"),
    *("variant", "setting", "shift", "probe", "vectors", "unit", "unseen", "transductive"),
)
NUMBERS = ("value", "low", "high", "n")


class Setting(StrEnum):
    """How a student or probe was tested: column ``setting`` of scores.csv.

    Attributes
    ----------
    IN_DOMAIN
        On unseen groups of the data set it was trained on.
    CROSS_DATASET
        On another data set, as trained.
    ADAPTED
        On another data set, with normalisation statistics re-estimated on its unlabelled clips, see
        `embcomp.students.adapt`.
    ROBUSTNESS
        On unseen groups of the data set it was trained on, the clips changed as column ``shift`` says.
    TRANSDUCTIVE
        On a set of which clips were learned from without their labels, on clips of its other groups.
    TRANSDUCTIVE_SAME
        On clips that were learned from without their labels.
    AS_TRAINED
        A saved student as it is, on a manifest that `embcomp.evaluate` was given.
    VALIDATION
        On the clips that decided when to stop: for choosing settings, never a result.
    """

    IN_DOMAIN = "in-domain"
    CROSS_DATASET = "cross-dataset"
    ADAPTED = "adapted"
    ROBUSTNESS = "robustness"
    TRANSDUCTIVE = "transductive"
    TRANSDUCTIVE_SAME = "transductive, same clips"
    AS_TRAINED = "as trained"
    VALIDATION = "validation"


class Vectors(StrEnum):
    """What a probe is fitted on: column ``vectors`` of scores.csv, empty for students and for the most frequent class."""

    EMBEDDING = "embedding"  # the teacher's
    TARGET = "target"  # what a compressor left of them
    STUDENT = "student"  # a student's embedding
    LOG_MEL = "log-mel"  # statistics of the log-mels
    INPUT = "input"  # a table's columns, or pixels


def read_scores(path: str | os.PathLike) -> pd.DataFrame:
    """Read scores.csv, or another table with its columns, as this version would have written it.

    Parameters
    ----------
    path : path

    Returns
    -------
    DataFrame
        Text is text in every row, empty where there is none: ``seed`` is ``"0"`` or ``"all"``. Without a value
        numbers are NaN. Further columns are as pandas reads them.

    Raises
    ------
    ArtifactError
        The file cannot be read, or has no column ``value``.

    Examples
    --------
    >>> from embcomp import read_scores
    >>> scores = read_scores("runs/mine/scores.csv")                       # doctest: +SKIP
    >>> scores[scores["setting"] == "adapted"]                              # doctest: +SKIP
    """
    try:
        table = pd.read_csv(
            path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=dict.fromkeys(NUMBERS, [""])
        )
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path} as a table of scores: {str(error).strip()}") from None
    if "value" not in table:
        raise ArtifactError(f"{path} is no table of scores: it has no column value")
    return upgraded(table)


RENAMED = {"cross-dataset, re-estimated": Setting.ADAPTED, "re-estimated": Setting.ADAPTED}


def setting_of(text: str) -> str:
    """A value of the column ``setting``, by whichever version it was written."""
    return RENAMED.get(text, text)


def upgraded(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of scores.csv as this version writes them, by whichever version they were written.

    Older versions had another word for `Setting.ADAPTED`, wrote the change of clips into ``test_dataset``, and
    said by the name of a variant alone what a probe was. Columns that a table has not, other than ``shift``,
    ``probe`` and ``vectors``, are not added.

    Parameters
    ----------
    table : DataFrame
        Not changed.
    """
    table = table.copy()
    if "setting" in table:
        table["setting"] = [setting_of(text) for text in table["setting"]]
        if "shift" not in table and {"train_dataset", "test_dataset"} <= set(table):
            changed = table["setting"] == Setting.ROBUSTNESS
            names = list(zip(changed, table["train_dataset"], table["test_dataset"]))
            table["shift"] = [test.removeprefix(f"{train}, ") if it else "" for it, train, test in names]
            table["test_dataset"] = [train if it else test for it, train, test in names]
    if {"method", "variant"} <= set(table) and "probe" not in table:
        empty = pd.Series("", index=table.index)
        compressors = table.get("compressor", empty).fillna("")
        found = [
            _probe(variant, compressor) if method == "probe" else ("", "")
            for method, variant, compressor in zip(table["method"], table["variant"], compressors)
        ]
        table["probe"], table["vectors"] = zip(*found) if found else (empty, empty)
    for name in ("shift", "probe", "vectors", "unit", "unseen", "transductive"):
        if name in table:
            # An empty cell that pandas read is NaN, and a column of them holds numbers.
            table[name] = table[name].astype(object).where(table[name].notna(), "")
    return table


def _probe(variant: str, compressor: str) -> tuple[str, str]:
    """Kind and vectors of a probe, by the name that older versions gave it."""
    kind, _, name = variant.partition(": ")
    if not name:
        return "majority", ""
    if name.startswith("student of "):
        return kind, Vectors.STUDENT
    if name == "log-mel":
        return kind, Vectors.LOG_MEL
    return kind, Vectors.TARGET if compressor else Vectors.EMBEDDING
