"""Scores of students and of linear probes, at home and on other data sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.classifier import Classifier
from embcomp.clips import Clips
from embcomp.config import EvaluationConfig
from embcomp.errors import DataError
from embcomp.features import compute_features
from embcomp.files import write_text
from embcomp.labels import MappedLabels, map_labels
from embcomp.manifest import Manifest
from embcomp.metrics import scores
from embcomp.training import predict_logits

COLUMNS = (
    "method",
    "teacher",
    "compressor",
    "dim",
    "seed",
    "train_dataset",
    "test_dataset",
    "metric",
    "value",
    "low",
    "high",
    "n",
)


@dataclass(frozen=True)
class Predictions:
    """Class probabilities for the clips of a data set that can be scored.

    Attributes
    ----------
    ids, groups : ndarray of str of shape (n,)
    truth : ndarray of int64 of shape (n,)
    probabilities : ndarray of shape (n, classes), float32
    classes : tuple of str
    """

    ids: np.ndarray
    groups: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each clip, int64 (n,)."""
        return self.probabilities.argmax(axis=1)

    def save(self, path: str | os.PathLike) -> None:
        """Write a CSV: id, group, label, then one column of probability per class."""
        table = pd.DataFrame({"id": self.ids, "group": self.groups, "label": np.array(self.classes)[self.truth]})
        chances = pd.DataFrame(self.probabilities, columns=[f"p:{name}" for name in self.classes])
        write_text(
            path, pd.concat([table, chances], axis=1).to_csv(index=False, float_format="%.6g", lineterminator="\n")
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> Predictions:
        """Read what `save` wrote."""
        table = pd.read_csv(path, dtype={"id": str, "group": str, "label": str}, keep_default_na=False)
        classes = tuple(name.removeprefix("p:") for name in table.columns[3:])
        column = {name: number for number, name in enumerate(classes)}
        truth = table["label"].map(column).to_numpy(np.int64)
        return cls(
            table["id"].to_numpy(object),
            table["group"].to_numpy(object),
            truth,
            table.iloc[:, 3:].to_numpy(np.float32),
            classes,
        )


def score_rows(pieces: Sequence[Predictions], config: EvaluationConfig, about: dict) -> list[dict]:
    """Rows of scores.csv for predictions pooled over folds (and seeds).

    Parameters
    ----------
    pieces : sequence of Predictions
        One for each student; a clip may occur in several, its group is resampled as one.
    about : dict
        The columns that say what was scored.
    """
    truth, predicted, groups, ids = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("truth", "predicted", "groups", "ids")
    )
    found = scores(
        truth,
        predicted,
        groups,
        len(pieces[0].classes),
        bootstrap=config.bootstrap,
        confidence=config.confidence,
        seed=config.seed,
        clips=len(set(ids)),
    )
    return [
        {**about, "metric": one.name, "value": one.value, "low": one.low, "high": one.high, "n": one.n} for one in found
    ]


def scored_predictions(manifest: Manifest, mapped: MappedLabels, probabilities: np.ndarray) -> Predictions:
    """Put together predictions for the clips that `mapped` kept.

    Parameters
    ----------
    manifest : Manifest
    mapped : MappedLabels
    probabilities : ndarray of shape (len(mapped.kept), classes)
    """
    kept = manifest.select(mapped.kept)
    return Predictions(
        np.array(kept.ids, dtype=object), kept.groups, mapped.labels.index, probabilities, mapped.labels.classes
    )


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    table : DataFrame
        Rows of scores.csv.
    predictions : Predictions
    left_out : dict of str to int
        Labels the student does not know and the clips that went with them.
    not_tested : tuple of str
        Classes without a clip.
    """

    table: pd.DataFrame
    predictions: Predictions
    left_out: dict[str, int]
    not_tested: tuple[str, ...]


def evaluate(
    classifier: Classifier,
    manifest: Manifest,
    *,
    cache: str | os.PathLike,
    config: EvaluationConfig | None = None,
    label_map: dict[str, str] | None = None,
    skip_bad: bool = False,
    allow_seen: bool = False,
) -> Evaluation:
    """Score a student on the labelled clips of a manifest.

    Parameters
    ----------
    cache : path
        Folder for the log-mels.
    label_map : dict, optional
        From the manifest's labels to the student's; see `embcomp.labels.map_labels`.
    allow_seen : bool, default=False
        Score clips the student was trained on, too.

    Raises
    ------
    DataError
        The student was trained on some of these clips.
    AudioError
        Clips cannot be used and `skip_bad` is false.
    """
    config = config or EvaluationConfig()
    clips, _ = Clips(manifest, classifier.audio.sample_rate, classifier.audio.seconds).usable(skip_bad)
    hashes = clips.hashes()
    seen = [clip for clip, key in zip(clips.manifest.ids, hashes) if key in classifier.seen]
    if seen and not allow_seen:
        raise DataError(
            f"the student was trained on {len(seen)} of these clips, {seen[0]!r} first; a score on them would mean nothing"
        )
    mapped = map_labels(clips.manifest.labels, classifier.classes, label_map)
    features = compute_features(clips, hashes, classifier.audio, Path(cache))
    kept = clips.manifest.select(mapped.kept)
    logits = predict_logits(classifier.network, *features.load(kept.ids))
    predictions = scored_predictions(clips.manifest, mapped, classifier.probabilities(logits).numpy())
    about = {name: classifier.about.get(name, "") for name in COLUMNS[:6]} | {"test_dataset": kept.name}
    table = pd.DataFrame(score_rows([predictions], config, about))
    return Evaluation(table, predictions, mapped.left_out, mapped.not_tested)


def linear_probe(vectors: np.ndarray, labels: np.ndarray, classes: int, strength: float = 0.01):
    """Logistic regression on standardised vectors; fitted on the rows given and nothing else.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
    labels : ndarray of int of shape (n,)
        Every class number below `classes` need not occur.
    strength : float, default=0.01
        Inverse of the L2 penalty (scikit-learn's C).

    Returns
    -------
    callable
        Vectors (m, dim) to probabilities (m, classes).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))
    model.fit(vectors, labels)

    def predict(rows: np.ndarray) -> np.ndarray:
        chances = np.zeros((len(rows), classes), dtype=np.float32)
        chances[:, model.classes_] = model.predict_proba(rows)
        return chances

    return predict


def summarise(table: pd.DataFrame, metric: str = "balanced_accuracy") -> pd.DataFrame:
    """One row per variant and data set: mean over seeds, their deviation, and the pooled interval.

    Parameters
    ----------
    table : DataFrame
        Rows of scores.csv, with the rows of ``seed == "all"`` that hold the pooled intervals.
    """
    rows = table[(table["metric"] == metric) & (table["setting"] != "validation")]
    single = rows[rows["seed"] != "all"]
    keys = ["variant", "setting", "train_dataset", "test_dataset"]
    found = single.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"]).reset_index()
    pooled = rows[rows["seed"] == "all"].set_index(keys)[["low", "high", "n"]]
    return found.join(pooled, on=keys)
