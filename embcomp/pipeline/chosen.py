"""The student of a finished run that is worth using: by validation score, never by test score."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from embcomp.errors import ArtifactError, ConfigError, nearest
from embcomp.storage.files import read_json

RECORDS = ("predictions.json", "metrics.json")


@dataclass(frozen=True)
class Chosen:
    """A student of a run.

    Attributes
    ----------
    path : Path
    variant, fold : str
    seed : int
    validation : float
        Its score on the clips that its training was stopped on.
    """

    path: Path
    variant: str
    fold: str
    seed: int
    validation: float

    def __str__(self) -> str:
        return f"student {self.variant!r}, seed {self.seed}, fold {self.fold}, validation score {self.validation:.3f}"


def is_run(folder: str | os.PathLike) -> bool:
    """Whether a folder is that of a finished run."""
    return all(Path(folder, name).is_file() for name in RECORDS)


def best_student(run: str | os.PathLike, variant: str = "") -> Chosen:
    """Of the variant with the best mean validation score, the student with the best one.

    Test scores are not used: chosen by them, they would be too high.

    Parameters
    ----------
    run : path
        Folder of a finished run.
    variant : str
        Of these students only.

    Raises
    ------
    ArtifactError
        It is not a finished run, or has no student.
    ConfigError
        It has no such variant; the nearest is named.
    """
    folder = Path(run)
    if not is_run(folder):
        raise ArtifactError(f"{folder} is not the folder of a finished run: it has no {' and '.join(RECORDS)}")
    found = _students(folder, read_json(folder / RECORDS[0]), read_json(folder / RECORDS[1]))
    if not found:
        raise ArtifactError(f"{folder} has no student")
    variants: dict[str, list[Chosen]] = {}
    for one in found:
        variants.setdefault(one.variant, []).append(one)
    if variant and variant not in variants:
        raise ConfigError(f"{folder} has no variant {variant!r}; {nearest(variant, variants)}")
    name = variant or max(variants, key=lambda name: fmean(one.validation for one in variants[name]))
    return max(variants[name], key=lambda one: one.validation)


def _students(folder: Path, index: Any, metrics: Any) -> list[Chosen]:
    scores = metrics.get("students") if isinstance(metrics, Mapping) else None
    if not isinstance(index, list) or not isinstance(scores, Mapping):
        raise ArtifactError(f"the records of {folder} are damaged; run again with the same command")
    found: dict[Path, Chosen] = {}
    for entry in index:
        try:
            path = folder / entry["student"] if entry.get("student") else None
            if path is not None and path.name in scores and path.is_dir():
                score = float(scores[path.name]["validation_score"])
                found.setdefault(path, Chosen(path, entry["variant"], str(entry["fold"]), int(entry["seed"]), score))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ArtifactError(f"{folder / RECORDS[0]} is damaged; run again with the same command") from None
    return list(found.values())
