"""Read what a report is made from: run folders, sweep folders, bare tables of scores. Nothing in them is trusted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from embcomp.errors import ArtifactError
from embcomp.evaluation.scores import Predictions, headline, summarise
from embcomp.evaluation.table import Setting, Vectors, setting_of, upgraded
from embcomp.metrics import METRICS as SCORED
from embcomp.report.tables import Column, unseen_of
from embcomp.storage.files import file_hash, read_json
from embcomp.storage.ownership import remake

MAX_BYTES = 200 << 20  # of one table
# What the parts of metrics.json must be, and what they hold, where they are there.
METRICS = {
    "left_out": (dict, dict),
    "not_tested": (dict, list),
    "cut": (dict, int),
    "guards": (dict, (int, list)),
    "bad_clips": (list, dict),
    "seeds": (list, int),
    "folds": (list, str),
    "claim": ((dict, str), str),
    "name": (str, str),
    "audio_seconds": ((int, float), None),
    "unseen": (str, str),
    "groups": (dict, dict),
    "notes": (dict, list),
    "inputs": (str, str),
}
WORDS = {"balanced_accuracy": "balanced accuracy", "mAP": "mean average precision"}


@dataclass(frozen=True)
class Layout:
    """A kind of table.

    Attributes
    ----------
    text : tuple of str
        Columns that hold words.
    numbers : tuple of str
        Columns that hold numbers, the first in every row. Others may follow.
    also : tuple of str
        More columns of words, which may be missing.
    gaps : tuple of str
        Metrics whose value may be undefined, in rows that are then left out: a data set of one class has a
        recall, but no ROC-AUC.
    further : bool
        Whether the others, but for `also`, hold numbers; else they are not read.
    """

    text: tuple[str, ...]
    numbers: tuple[str, ...]
    also: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    further: bool = False


TESTS = ("variant", "setting", "train_dataset", "test_dataset", "metric")
SCORES = Layout(
    (*TESTS, "seed", "method"),
    ("value", "low", "high", "n"),
    ("teacher", "compressor", "dim", "fold", "shift", "probe", "vectors", "unit", "unseen"),
    tuple(name for name, metric in SCORED.items() if metric.ranked),
)
COMPARISONS = Layout(
    ("variant", "baseline", "setting", "test_dataset", "metric"),
    ("difference", "low", "high", "p_corrected"),
    ("train_dataset", "shift"),
)
HISTORY = Layout(("variant", "seed", "fold"), ("step",), further=True)
CURVE = Layout(
    ("method",), ("score", "dim", "score_low", "score_high", "retained", "overlap", "behind"), ("unseen",), further=True
)


@dataclass(frozen=True)
class Entry:
    """A line of predictions.json: one student or probe, scored on one data set.

    Attributes
    ----------
    path : Path
        Its predictions.
    targets : str
        What the student learned from, see `embcomp.transfer.Source`; "probe" for a probe.
    student, embedding : Path or None
        The student, and the vectors of the clips it trained on; None where there are none.
    """

    variant: str
    seed: str
    fold: str
    setting: str
    test_dataset: str
    targets: str
    path: Path
    student: Path | None
    embedding: Path | None


@dataclass
class Source:
    """What one path holds; a part that is not there is None or empty.

    Attributes
    ----------
    name : str
    path : Path
    kind : str
        run, scores (a bare table) or sweep.
    metric : str
        What the scores are read by, see `embcomp.evaluation.scores.headline`.
    scores, summary, shifted, comparisons, history, curve : DataFrame or None
        `shifted` summarises tests on changed clips, `summary` all others.
    metrics, environment : dict
    config : str
        The resolved settings.
    index : list of Entry
    hashes : dict of str to str
        Content hash of each file read.
    unseen : str
        What the in-domain test clips are, after the word unseen; empty where that is not known.
    prefix, test_prefix : str
        What is put before its variants, and its tests, where other sources have some of the same name; else empty.
    """

    name: str
    path: Path
    kind: str
    metric: str = "balanced_accuracy"
    scores: pd.DataFrame | None = None
    summary: pd.DataFrame | None = None
    shifted: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    history: pd.DataFrame | None = None
    curve: pd.DataFrame | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    index: list[Entry] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    unseen: str = ""
    prefix: str = ""
    test_prefix: str = ""

    @property
    def inputs(self) -> str:
        """What students got: ``audio``, ``table``, ``images``, or ``none`` without any."""
        return str(self.metrics.get("inputs", "audio"))

    @property
    def students(self) -> list[str]:
        """Variants that are students, in the order of the table."""
        return self._variants(lambda table: table["method"] != "probe")

    @property
    def probes(self) -> list[str]:
        """Variants that are simple classifiers on vectors that no student learned, and the class that is most frequent."""
        return self._variants(lambda table: (table["method"] == "probe") & (table["vectors"] != Vectors.STUDENT))

    @property
    def student_probes(self) -> list[str]:
        """The same on the embeddings that students learned."""
        return self._variants(lambda table: (table["method"] == "probe") & (table["vectors"] == Vectors.STUDENT))

    def _variants(self, chosen: Callable[[pd.DataFrame], pd.Series]) -> list[str]:
        if self.scores is None:
            return []
        return list(dict.fromkeys(self.scores.loc[chosen(self.scores), "variant"]))

    def title(self, column: Column) -> str:
        """What a column of scores holds, in words."""
        return column.title(unseen_of(self.summary, column.test) or self.unseen)

    def validation(self) -> pd.Series:
        """Mean validation score by variant, best first; empty where none is kept."""
        if self.scores is None:
            return pd.Series(dtype=float)
        rows = self.scores[self.scores["setting"] == Setting.VALIDATION]
        if rows["metric"].nunique() > 1:
            rows = rows[rows["metric"] == self.metric]
        # A stable sort: of equals, the one listed first.
        return rows.groupby("variant", sort=False)["value"].mean().sort_values(ascending=False, kind="stable")

    @property
    def words(self) -> str:
        """The metric in words."""
        return WORDS.get(self.metric, self.metric.replace("_", " "))

    def guessing(self) -> float | None:
        """Balanced accuracy of guessing: one over the number of classes; None for other metrics and without predictions."""
        if not self.index or self.metric != "balanced_accuracy":
            return None
        return 1 / len(load_predictions(self.index[:1])[0].classes)


def read_source(path: str | os.PathLike) -> Source:
    """Read a run folder, a sweep folder or a table of scores.

    Raises
    ------
    ArtifactError
        The path is none of these, or one of its files is missing, too large or damaged; it is named.
    """
    path = Path(path)
    if path.is_file():
        source = Source(path.parent.resolve().name if path.stem in ("scores", "results") else path.stem, path, "scores")
        source.scores = upgraded(_table(source, path, SCORES))
    elif (path / "scores.csv").is_file():
        source = _run(path)
    elif (path / "curve.csv").is_file():
        source = Source(path.resolve().name, path, "sweep")
        source.curve = _table(source, path / "curve.csv", CURVE)
        if not (source.curve["method"] == "identity").any():
            raise ArtifactError(f"{path / 'curve.csv'} lacks the row of the full embedding (identity); sweep again")
    elif path.is_dir() and (path / "config.toml").is_file():
        raise ArtifactError(
            f"{path} has no scores.csv: the run has not ended. The same embcomp run command goes on from there"
        )
    else:
        raise ArtifactError(
            f"{path} is neither a run folder (with scores.csv), nor a sweep folder (with curve.csv), nor a table of scores"
        )
    if source.scores is not None:
        source.metric = headline(source.scores)
        everything = summarise(source.scores)
        changed = everything["setting"] == Setting.ROBUSTNESS
        source.summary, source.shifted = everything[~changed], everything[changed]
        source.unseen = _unseen(source)
        if source.summary.empty:
            raise ArtifactError(f"{path} holds no row of {source.metric} on a test set: there is nothing to report")
    return source


def _run(path: Path) -> Source:
    source = Source(path.resolve().name, path, "run")
    source.scores = upgraded(_table(source, path / "scores.csv", SCORES))
    source.metrics = _record(source, path / "metrics.json")
    for name, (kind, inner) in METRICS.items():
        held = source.metrics.get(name, kind[0]() if isinstance(kind, tuple) else kind())
        every = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()
        if not isinstance(held, kind) or not all(isinstance(one, inner) for one in every):
            raise ArtifactError(f"{path / 'metrics.json'} is damaged (its {name!r}); run again to make it anew")
    source.name = str(source.metrics.get("name") or source.name)
    source.environment = _record(source, path / "environment.json")
    config = path / "config.toml"
    source.config = _bounded(source, config).read_text(encoding="utf-8", errors="replace")
    if (path / "history.csv").is_file() and (path / "history.csv").stat().st_size > 1:
        source.history = _table(source, path / "history.csv", HISTORY)
    if (path / "comparisons.csv").is_file() and (path / "comparisons.csv").stat().st_size > 1:
        table = _table(source, path / "comparisons.csv", COMPARISONS)
        source.comparisons = table.assign(setting=table["setting"].map(setting_of))
    if (path / "predictions.json").is_file():
        source.index = _index(source, path / "predictions.json")
    return source


def _unseen(source: Source) -> str:
    """What the in-domain test clips are. Of a run that did not keep it the predictions say."""
    in_table = source.scores.get("unseen", ())
    unseen = source.metrics.get("unseen") or next((words for words in in_table if words), "")
    here = [entry for entry in source.index if entry.setting == Setting.IN_DOMAIN]
    if unseen or not here or not here[0].path.is_file():
        return unseen
    one = load_predictions(here[:1])[0]
    return "clips; no groups given" if list(one.groups) == list(one.ids) else "groups"


def load_predictions(entries: Iterable[Entry]) -> list[Predictions]:
    """Predictions of students with the same classes.

    Raises
    ------
    ArtifactError
        A file is missing or damaged.
    """
    found: list[Predictions] = []
    for entry in entries:
        _check_size(entry.path)
        one = Predictions.load(entry.path)
        if found and one.classes != found[0].classes:
            raise ArtifactError(f"{entry.path} has other classes than {found[0].classes}: it belongs to another run")
        if not len(one.ids):
            raise ArtifactError(f"{entry.path} is damaged (no rows); {remake(entry.path)}")
        found.append(one)
    return found


def _table(source: Source, path: Path, layout: Layout) -> pd.DataFrame:
    words = (*layout.text, *layout.also)
    try:
        table = pd.read_csv(
            _bounded(source, path), dtype=dict.fromkeys(words, str), keep_default_na=False, encoding="utf-8"
        )
    except (ValueError, OverflowError, RecursionError) as error:
        raise ArtifactError(f"{path} is not a table that embcomp wrote ({error})") from None
    missing = [name for name in (*layout.text, *layout.numbers) if name not in table.columns]
    if missing:
        raise ArtifactError(f"{path} lacks the columns {', '.join(missing)}; is it a table that embcomp wrote?")
    for name in table.columns.difference(words) if layout.further else layout.numbers:
        try:
            table[name] = pd.to_numeric(table[name].replace("", np.nan))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path}: column {name!r} must hold numbers ({error})") from None
        if np.isinf(table[name].to_numpy(np.float64, na_value=np.nan)).any():
            raise ArtifactError(f"{path}: column {name!r} holds an infinite number")
    needed = layout.numbers[0]
    if layout.gaps:
        table = table[table[needed].notna() | ~table["metric"].isin(layout.gaps)].reset_index(drop=True)
    if table.empty or table[needed].isna().any():
        raise ArtifactError(f"{path}: column {needed!r} lacks numbers; the file is damaged")
    return table


def _record(source: Source, path: Path) -> dict[str, Any]:
    content = read_json(path)
    source.hashes[path.name] = file_hash(path)
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is damaged (not an object); run again to make it anew")
    return content


def _index(source: Source, path: Path) -> list[Entry]:
    content = read_json(path)
    source.hashes[path.name] = file_hash(path)
    inside = source.path.resolve()

    def within(name: str | None) -> Path | None:
        if name is None:
            return None
        found = (inside / name).resolve()
        if not found.is_relative_to(inside):
            raise ArtifactError(f"{path} points out of its folder ({name!r}): not an index that embcomp wrote")
        return found

    try:
        return [
            Entry(
                *(str(one[name]) for name in ("variant", "seed", "fold")),
                setting_of(str(one["setting"])),
                *(str(one[name]) for name in ("test_dataset", "targets")),
                *(within(one[name]) for name in ("path", "student", "embedding")),
            )
            for one in content
        ]
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}); run again to make it anew") from None


def _bounded(source: Source, path: Path) -> Path:
    _check_size(path)
    source.hashes[path.name] = file_hash(path)
    return path


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from None
    if size > MAX_BYTES:
        raise ArtifactError(f"{path} is larger than {MAX_BYTES >> 20} MB: not one of embcomp's files")
