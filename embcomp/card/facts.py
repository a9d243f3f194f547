"""What a model card is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN = "unknown"
BUILT_IN = "the training clips; no licence of its own"


@dataclass(frozen=True)
class Score:
    """One number, as a row of scores.csv has it.

    Attributes
    ----------
    train, test : str
        Data sets.
    setting : str
        See `embcomp.evaluation.table.Setting`.
    metric : str
    value : float
    low, high : float or None
        Interval, where there is one.
    n : int
        Clips.
    """

    train: str
    test: str
    setting: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Evidence:
    """What is known beyond the saved model itself.

    Attributes
    ----------
    scores : tuple of Score
    of : str
        What the scores are of, if not of this very model: "6 students of this variant, folds and seeds pooled".
    guards : tuple of str
        Leak guards that passed.
    not_checked : tuple of str
        Leak guards that could not be run.
    """

    scores: tuple[Score, ...] = ()
    of: str = ""
    guards: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()


def teacher_licence(teacher: str) -> str:
    """Licence of a teacher, where the catalogue has it: by its name, ``birdnet``, or its spec, ``tflite:birdnet``."""
    from embcomp.teachers.catalogue import catalogue

    if teacher.partition(":")[0] == "kmeans":
        return BUILT_IN
    parts = set(re.split(r"[:/@]", teacher)) | {teacher}
    for name, entry in catalogue().items():
        if name in parts or entry.spec == teacher:
            return entry.licence
    return UNKNOWN
