"""Scores of students and of probes, in-domain and cross-dataset."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.compression import Compressor
from embcomp.config import EvaluationConfig
from embcomp.data.guards import refuse_seen, seen_among
from embcomp.data.inputs import rows_for
from embcomp.data.labels import Labels, MappedLabels, encode, map_labels
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, DataError
from embcomp.evaluation.table import Setting, upgraded
from embcomp.metrics import Rows, measured
from embcomp.storage.files import check_regular, write_table
from embcomp.storage.ownership import remake
from embcomp.students.adapt import reestimate as reestimated_on
from embcomp.students.classifier import Classifier
from embcomp.students.given import given_audio, given_rows
from embcomp.students.inference import predict_logits

HEADLINE = "balanced_accuracy"
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
    truth : ndarray of float32 of shape (n, classes)
        1 applies, 0 does not, NaN unknown; class numbers (n,) are taken as well.
    probabilities : ndarray of shape (n, classes), float32
    classes : tuple of str
    multi_label : bool
        Whether a clip may have several labels, or none.
    """

    ids: np.ndarray
    groups: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    multi_label: bool = False

    def __post_init__(self) -> None:
        if np.ndim(self.truth) == 1:
            index = np.asarray(self.truth, dtype=np.int64)
            if len(index) and not 0 <= index.min() <= index.max() < len(self.classes):
                raise DataError(f"class numbers must lie in 0..{len(self.classes) - 1}")
            object.__setattr__(self, "truth", np.eye(len(self.classes), dtype=np.float32)[index])

    @property
    def index(self) -> np.ndarray:
        """True class number of each clip, int64 (n,); -1 where it is unknown. Of single labels only."""
        return Labels(self.classes, self.truth, self.multi_label).index

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each clip, int64 (n,)."""
        return self.probabilities.argmax(axis=1)

    def save(self, path: str | os.PathLike) -> None:
        """Write a CSV: id, group, label (`labels` if there may be several), one column of probability per class."""
        cells = Labels(self.classes, self.truth, self.multi_label).cells
        name = "labels" if self.multi_label else "label"
        table = pd.DataFrame({"id": self.ids, "group": self.groups, name: cells})
        columns = pd.DataFrame(self.probabilities, columns=[f"p:{name}" for name in self.classes])
        write_table(path, pd.concat([table, columns], axis=1))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Predictions:
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            The file is missing or damaged.
        """
        check_regular(path)
        try:
            table = pd.read_csv(
                path, dtype={"id": str, "group": str, "label": str, "labels": str}, keep_default_na=False
            )
            classes = tuple(name.removeprefix("p:") for name in table.columns[3:])
            several = table.columns[2] == "labels"
            found = cls(
                table["id"].to_numpy(object),
                table["group"].to_numpy(object),
                encode(table.iloc[:, 2].tolist(), classes, several).matrix,
                table.iloc[:, 3:].to_numpy(np.float32),
                classes,
                several,
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); {remake(path)}") from error
        if not classes or not np.isfinite(found.probabilities).all():
            raise ArtifactError(f"{path} is damaged (not a probability for every class); {remake(path)}")
        return found


def as_rows(pieces: Sequence[Predictions], threshold: float = 0.5) -> Rows:
    """Predictions of several students of the same classes, put together to be scored."""
    kinds = {(piece.classes, piece.multi_label) for piece in pieces}
    if len(kinds) != 1:
        raise DataError("predictions of different classes cannot be scored together; give those of one task")
    truth, probabilities, groups = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("truth", "probabilities", "groups")
    )
    students = np.repeat(np.arange(len(pieces)), [len(piece.ids) for piece in pieces])
    classes, multi_label = kinds.pop()
    return Rows.of(truth, probabilities, len(classes), groups, students, multi_label, threshold)


def score_rows(pieces: Sequence[Predictions], config: EvaluationConfig, about: dict) -> list[dict]:
    """Rows of scores.csv for predictions pooled over folds (and seeds).

    Parameters
    ----------
    pieces : sequence of Predictions
        One for each student; a clip may occur in several, its group is resampled as one.
    about : dict
        The columns that say what was scored.
    """
    found = measured(
        as_rows(pieces, config.threshold),
        bootstrap=config.bootstrap,
        confidence=config.confidence,
        seed=config.seed,
        clips=len(set(np.concatenate([piece.ids for piece in pieces]))),
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
    kept, labels = manifest.select(mapped.kept), mapped.labels
    return Predictions(
        np.array(kept.ids, dtype=object), kept.groups, labels.matrix, probabilities, labels.classes, labels.multi_label
    )


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    table : DataFrame
        Rows of scores.csv.
        Its column ``setting`` is `Setting.AS_TRAINED` or `Setting.ADAPTED`.
    predictions : Predictions
        Of the student as trained.
    left_out : dict of str to int
        Labels the student does not know, and how many clips have them.
    not_tested : tuple of str
        Classes without a clip.
    adapted : Predictions, optional
        Of its copy with statistics of these clips.
    """

    table: pd.DataFrame
    predictions: Predictions
    left_out: dict[str, int]
    not_tested: tuple[str, ...]
    adapted: Predictions | None = None


def evaluate(
    classifier: Classifier,
    manifest: Manifest,
    *,
    cache: str | os.PathLike | None = None,
    config: EvaluationConfig | None = None,
    label_map: dict[str, str] | None = None,
    skip_bad: bool = False,
    allow_seen: bool = False,
    compressor: Compressor | None = None,
    reestimate: bool = False,
    ffmpeg: bool = False,
    inputs: str | os.PathLike | None = None,
) -> Evaluation:
    """Score a student on the labelled clips of a manifest.

    Parameters
    ----------
    cache : path, optional
        Folder to keep the log-mels in; by default they are not kept.
    label_map : dict, optional
        From the manifest's labels to the student's; see `embcomp.data.labels.map_labels`.
    allow_seen : bool, default=False
        Score clips that the student, its teacher or its compressor learned from, too.
    compressor : Compressor, optional
        What made the student's targets: refused if it was fitted on a clip of the manifest, which the student
        then knows of although it was never trained on it.
    reestimate : bool, default=False
        Score it a second time, with normalisation statistics of all usable clips of the manifest, those whose
        label it does not know included; see `embcomp.students.adapt`.
    ffmpeg : bool, default=False
        Read what libsndfile cannot through the program ffmpeg, even where the student was trained without.
    inputs : path, optional
        The table or the images of a student that takes these: from the working directory on, or from the manifest's
        folder; see `embcomp.data.inputs.read_inputs`.

    Raises
    ------
    DataError
        The student was trained on some of these clips, or what taught it was learned from them.
    AudioError, StoreError
        Clips cannot be used and `skip_bad` is false.
    ConfigError
        The student takes audio and there are `inputs`, or the other way round.
    """
    config = config or EvaluationConfig()
    rows_given = rows_for(classifier.inputs, inputs, manifest)
    if rows_given is None:
        audio = replace(classifier.audio, ffmpeg=ffmpeg or classifier.audio.ffmpeg)
        given = given_audio(manifest, audio, skip_bad, classifier.audio)
    else:
        given = given_rows(manifest, rows_given, skip_bad)
    known = given.manifest
    if not allow_seen:
        tested = dict(zip(known.ids, given.hashes))
        refuse_seen("the student was trained on", seen_among(classifier.seen), tested)
        if classifier.taught is not None:
            refuse_seen(
                "the teacher or the compressor of the student was learned from", classifier.taught.among, tested
            )
        if compressor is not None:
            refuse_seen("the compressor of its targets was fitted on", compressor.seen, tested)
    mapped = map_labels(known.labels, classifier.classes, label_map, classifier.multi_label)
    kept = known.select(mapped.kept)
    with tempfile.TemporaryDirectory() as scratch:
        features = given.features(cache or Path(scratch, "logmel"))
        tensors = features.load(kept.ids)
        networks = {Setting.AS_TRAINED: classifier.network}
        if reestimate:
            networks[Setting.ADAPTED] = reestimated_on(classifier.network, *features.load(known.ids))
    about = {name: classifier.about.get(name, "") for name in COLUMNS[:6]} | {"test_dataset": kept.name}
    about["unit"] = f"{manifest.unit}s"
    rows, found = [], {}
    for setting, network in networks.items():
        logits = predict_logits(network, *tensors)
        found[setting] = scored_predictions(known, mapped, classifier.probabilities(logits).numpy())
        rows += score_rows([found[setting]], config, about | {"setting": setting})
    predictions = found.pop(Setting.AS_TRAINED)
    return Evaluation(pd.DataFrame(rows), predictions, mapped.left_out, mapped.not_tested, found.get(Setting.ADAPTED))


def headline(table: pd.DataFrame) -> str:
    """The metric that rows of scores.csv are read by: balanced accuracy, or mAP for several labels a clip."""
    return HEADLINE if (table["metric"] == HEADLINE).any() or table.empty else "mAP"


def summarise(table: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """One row per variant and test set: mean over seeds, their deviation, and the pooled interval.

    Parameters
    ----------
    table : DataFrame
        Rows of scores.csv, by this version or an older one, with the rows of ``seed == "all"`` that hold the
        pooled intervals.
    metric : str, optional
        By default what `headline` says.
    """
    metric, table = metric or headline(table), upgraded(table)
    rows = table[(table["metric"] == metric) & (table["setting"] != Setting.VALIDATION)]
    single = rows[rows["seed"] != "all"]
    keys = ["variant", "setting", "train_dataset", "test_dataset", "shift"]
    found = single.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"]).reset_index()
    pooled = rows[rows["seed"] == "all"].set_index(keys)[["low", "high", "n"]]
    # What the groups are is known of tables written since they say so.
    about = [name for name in ("unit", "unseen") if name in rows]
    return found.join(pooled, on=keys).join(rows.groupby(keys, sort=False)[about].first(), on=keys)
