"""Scores of predictions, kept in a run's folder: a run that is asked for again draws no bootstrap twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.config import EvaluationConfig
from embcomp.errors import EmbcompError
from embcomp.evaluation.scores import Predictions, score_rows
from embcomp.storage.files import file_hash, fingerprint, read_json, write_json

VERSION = 1  # raised when other scores come of the same predictions
NUMBERS = ("value", "low", "high")


class KeptScores:
    """Scores by the content of the predictions that they are of.

    Parameters
    ----------
    path : Path
        File that earlier scores lie in. One that is missing or damaged holds none.
    options : EvaluationConfig
    """

    def __init__(self, path: Path, options: EvaluationConfig):
        self._path, self._options = path, options
        self._hashes: dict[str, str] = {}
        self._asked: dict[str, list[dict[str, Any]]] = {}
        try:
            self._before = _checked(read_json(path))
        except (EmbcompError, LookupError, TypeError, ValueError, AttributeError):
            self._before = {}

    def rows(self, predictions: Sequence[str]) -> list[dict[str, Any]]:
        """Metric, value, ends of its interval and number of clips of the predictions in some files, pooled.

        Raises
        ------
        ArtifactError
            A file is missing or damaged.
        """
        options = self._options
        made_of = [options.bootstrap, options.confidence, options.seed, options.threshold]
        key = fingerprint([VERSION, made_of, [self._hash(path) for path in predictions]])
        if key not in self._asked:
            found = self._before.get(key)
            if found is None:
                found = score_rows([Predictions.load(path) for path in predictions], options, {})
            self._asked[key] = [{**row, **{name: float(row[name]) for name in NUMBERS}} for row in found]
        return self._asked[key]

    def _hash(self, path: str) -> str:
        if path not in self._hashes:
            try:
                self._hashes[path] = file_hash(path)
            except OSError:
                Predictions.load(path)  # which says what is wrong with it
                raise
        return self._hashes[path]

    def save(self) -> None:
        """Keep what was asked for, and nothing else."""
        content = {
            key: [{**row, **{name: _written(row[name]) for name in NUMBERS}} for row in rows]
            for key, rows in sorted(self._asked.items())  # whatever the order of the variants
        }
        if self._asked.keys() != self._before.keys():
            write_json(self._path, content)


def _checked(content: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows by key, as `KeptScores.save` wrote them."""
    return {
        str(key): [
            {
                "metric": str(row["metric"]),
                **{name: math.nan if row[name] is None else float(row[name]) for name in NUMBERS},
                "n": int(row["n"]),
            }
            for row in rows
        ]
        for key, rows in content.items()
    }


def _written(value: float) -> float | None:
    return None if math.isnan(value) else value
