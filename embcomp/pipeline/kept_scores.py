"""Scores of predictions, kept in a run's folder: a run that is asked for again draws no bootstrap twice."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcomp.config import EvaluationConfig
from embcomp.errors import EmbcompError
from embcomp.evaluation.scores import Predictions, score_rows
from embcomp.storage.files import file_hash, fingerprint, read_json, write_json

VERSION = 1  # raised when other scores come of the same predictions
HELD = 64  # files of predictions, which are scored by seed and then all seeds together
OPTIONS = ("bootstrap", "confidence", "seed", "threshold")  # that scores depend on
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
        self._load = functools.lru_cache(maxsize=HELD)(Predictions.load)
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
        options, key = self._options, self._key(predictions)
        if key not in self._asked:
            found = self._before.get(key)
            if found is None:
                found = score_rows([self._load(path) for path in predictions], options, {})
            self._asked[key] = [{**row, **{name: float(row[name]) for name in NUMBERS}} for row in found]
        return self._asked[key]

    def score(self, together: Sequence[Sequence[Sequence[str]]], engine: Any) -> None:
        """Have the workers of an engine score what is not known yet, and keep it.

        Parameters
        ----------
        together : sequence of sequences
            Of each job, the files of predictions that it scores: those of each entry pooled.
        """
        options = {name: getattr(self._options, name) for name in OPTIONS}
        todo = [[files for files in one if self._key(files) not in self._before] for one in together]
        todo = [one for one in todo if one]
        jobs = [{"together": one, "options": options} for one in todo]
        for number, found in engine.map(score_files, jobs):
            self._before |= _checked({self._key(files): rows for files, rows in zip(todo[number], found)})
        if jobs:
            self._asked = {key: self._before[key] for one in together for key in map(self._key, one)}
            write_json(self._path, _content(self._asked))

    def _key(self, predictions: Sequence[str]) -> str:
        made_of = [getattr(self._options, name) for name in OPTIONS]
        return fingerprint([VERSION, made_of, [self._hash(path) for path in predictions]])

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
        if self._asked.keys() != self._before.keys():
            write_json(self._path, _content(self._asked))


def score_files(together: Sequence[Sequence[str]], options: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """A job of an engine: scores of the predictions in some files, those of each entry pooled, as `KeptScores` keeps them."""
    load = functools.lru_cache(maxsize=HELD)(Predictions.load)
    config = EvaluationConfig(**options)
    return [_plain(score_rows([load(path) for path in files], config, {})) for files in together]


def _content(asked: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {key: _plain(rows) for key, rows in sorted(asked.items())}  # whatever the order of the variants


def _plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, **{name: _written(float(row[name])) for name in NUMBERS}} for row in rows]


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
