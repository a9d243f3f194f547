"""Where the stages of a run lie, and the small files they share."""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from embcomp.config import RunConfig, SplitConfig
from embcomp.data.guards import joined_groups
from embcomp.data.labels import Labels, encode
from embcomp.data.manifest import Manifest
from embcomp.data.splits import Fold, column_folds, group_folds, validation_split
from embcomp.errors import ArtifactError, EmbcompWarning, ManifestError
from embcomp.storage.files import fingerprint, read_json, write_json
from embcomp.storage.ownership import remake
from embcomp.storage.places import absolute


@dataclass(frozen=True)
class Dataset:
    """A manifest's usable clips and their content.

    Attributes
    ----------
    manifest : Manifest
        Usable clips only.
    hashes : tuple of str
        Content hash of each.
    whole : Manifest, optional
        Every clip, usable or not: stored vectors without ids belong to the rows of this. By default `manifest`.
    key : str
        Changes whenever a clip, a label or a group does.
    """

    manifest: Manifest
    hashes: tuple[str, ...]
    whole: Manifest | None = None

    @functools.cached_property
    def key(self) -> str:
        table = self.manifest.table
        return fingerprint(
            [self.manifest.ids, self.hashes, *(table[name].tolist() for name in ("label", "group", "split", "dataset"))]
        )

    @functools.cached_property
    def audio_key(self) -> str:
        """Changes whenever a clip does; labels and groups do not count."""
        return fingerprint([self.manifest.ids, self.hashes])

    @functools.cached_property
    def hash_of(self) -> dict[str, str]:
        """Content hash by clip id."""
        return dict(zip(self.manifest.ids, self.hashes))

    def rows(self, ids: list[str]) -> np.ndarray:
        """Row numbers of `ids`."""
        row_of = {clip: row for row, clip in enumerate(self.manifest.ids)}
        return np.array([row_of[clip] for clip in ids], dtype=np.int64)


@dataclass(frozen=True)
class Split:
    """Clip ids of one fold and one seed.

    Attributes
    ----------
    fold : str
    seed : int
    fit, validation, test : list of str
    hidden : list of str
        Clips of fit and validation whose label training must not use.
    classes : list of str
    multi_label : bool
        Whether a clip may have several labels, or none.
    """

    fold: str
    seed: int
    fit: list[str]
    validation: list[str]
    test: list[str]
    hidden: list[str]
    classes: list[str]
    multi_label: bool = False

    @functools.cached_property
    def key(self) -> str:
        content = asdict(self)
        if not self.multi_label:  # one label per clip keeps the keys it had before there could be several
            del content["multi_label"]
        return fingerprint(content)

    def labels(self, dataset: Dataset, ids: list[str]) -> Labels:
        """Labels of training clips `ids`; hidden ones are unknown."""
        hidden = set(self.hidden)
        cells = [dataset.manifest.labels[row] for row in dataset.rows(ids)]
        shown = ["" if clip in hidden else cell for clip, cell in zip(ids, cells)]
        return encode(shown, self.classes, self.multi_label)


class Workspace:
    """The folder of a run.

    Stages lie under ``stages/KIND/KEY``; the key is the fingerprint of everything
    the stage depends on, so a result found there is what the stage would compute.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def stage(self, kind: str, key: str) -> Path:
        """Where a stage lies or will lie."""
        return self.folder / "stages" / kind / key

    def save_dataset(self, dataset: Dataset, path: Path) -> None:
        """Remember a data set for the workers."""
        target = self.stage("datasets", f"{dataset.key}.json")
        content = {
            "manifest": absolute(path),
            "allow_outside": dataset.manifest.allow_outside,
            "group_column": dataset.manifest.group_column,
            "ids": dataset.manifest.ids,
            "hashes": list(dataset.hashes),
        }
        if not target.exists() or read_json(target) != content:
            write_json(target, content)

    def load_dataset(self, key: str) -> Dataset:
        """A data set the run remembers."""
        return _load_dataset(str(self.stage("datasets", f"{key}.json")), key)

    def save_split(self, split: Split) -> None:
        """Remember a split for the workers."""
        target = self.stage("splits", f"{split.key}.json")
        if not target.exists():
            write_json(target, asdict(split))

    def load_split(self, key: str) -> Split:
        """A split the run remembers."""
        path = self.stage("splits", f"{key}.json")
        try:
            return Split(**read_json(path))
        except TypeError as error:
            raise ArtifactError(f"{path} is damaged ({error}); {remake(path)}") from None


@functools.lru_cache(maxsize=32)
def _load_dataset(path: str, key: str) -> Dataset:
    content = read_json(path)
    try:
        source, allow_outside, ids, hashes = (content[name] for name in ("manifest", "allow_outside", "ids", "hashes"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EmbcompWarning)  # whoever started the run has seen it
            manifest = Manifest.read(source, allow_outside is True, str(content.get("group_column", "")))
    except (LookupError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}); {remake(path)}") from None
    row_of = {clip: row for row, clip in enumerate(manifest.ids)}
    dataset = Dataset(manifest.select([row_of[clip] for clip in ids if clip in row_of]), tuple(hashes), manifest)
    if dataset.key != key:
        raise ManifestError(f"{source} changed while the run was using it; run again")
    return dataset


def make_folds(dataset: Dataset, config: SplitConfig, groups: np.ndarray) -> tuple[list[Fold], Labels]:
    """The folds that `config` asks for, and the labels of all clips; `groups` (n,) are kept together."""
    manifest = dataset.manifest
    labels = encode(manifest.labels, check=False)
    if config.by == "group":
        return group_folds(labels.for_splits, groups, config.folds, config.seed), labels
    if config.by == "column":
        return column_folds(manifest.splits, groups, config.test, config.allow_shared_groups, config.validate), labels
    return [Fold("all", np.arange(len(manifest)), np.empty(0, dtype=np.int64))], labels


def make_splits(dataset: Dataset, config: RunConfig) -> list[Split]:
    """One split per fold and seed, fold by fold; with ``split.rotate``, one per seed."""
    groups = dataset.manifest.groups
    if config.data.duplicates == "join":
        groups = np.array(joined_groups(groups, dataset.hashes), dtype=object)
    folds, labels = make_folds(dataset, config.split, groups)
    turns = [fold for fold in folds if len(fold.test)] or folds
    ids, strata = np.array(dataset.manifest.ids, dtype=object), labels.for_splits
    splits = []
    for fold in folds:
        for number, seed in enumerate(config.seeds):
            if config.split.rotate and fold is not turns[number % len(turns)]:
                continue
            fit, validation = fold.train, fold.validation
            if validation is None:
                parts = validation_split(strata[fold.train], groups[fold.train], config.split.validation, seed)
                fit, validation = (fold.train[part] for part in parts)
            hidden = [
                row for part in (fit, validation) for row in _hidden(strata, part, config.split.labels_per_class, seed)
            ]
            splits.append(
                Split(
                    fold.name,
                    seed,
                    *(ids[rows].tolist() for rows in (fit, validation, fold.test, hidden)),
                    classes=list(labels.classes),
                    multi_label=labels.multi_label,
                )
            )
    return splits


def _hidden(strata: np.ndarray, rows: np.ndarray, per_class: int, seed: int) -> list[int]:
    """Rows beyond the first `per_class` of each class, in a random order."""
    if not per_class:
        return []
    shuffled = np.random.default_rng(seed).permutation(rows)
    return sorted(
        int(row) for value in np.unique(strata[rows]) for row in shuffled[strata[shuffled] == value][per_class:]
    )
