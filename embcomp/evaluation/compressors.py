"""A fitted compressor scored by probes on stored vectors: what it leaves of them, beside the vectors as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.compression import Compressor
from embcomp.config import EvaluationConfig
from embcomp.data.guards import refuse_duplicates, refuse_seen, refuse_shared_clips
from embcomp.data.labels import Labels, MappedLabels, encode, map_labels
from embcomp.data.manifest import Manifest
from embcomp.data.splits import group_folds, only_groups
from embcomp.errors import ConfigError, StoreError
from embcomp.evaluation.probes import fit_probe
from embcomp.evaluation.scores import COLUMNS, Predictions, score_rows, scored_predictions
from embcomp.evaluation.table import Setting, Vectors
from embcomp.storage.bringing import brought_from
from embcomp.storage.vectors import matched, open_vectors

FOLDS = 5
KINDS = {"probe": "", "k-NN": "k-NN: "}  # of probes, and how a table calls them


@dataclass(frozen=True)
class VectorSet:
    """Clips with stored vectors.

    Attributes
    ----------
    manifest : Manifest
    vectors : ndarray of shape (n, dim), float32
        Of its clips, averaged over time.
    keys : dict of str to str
        Content key of each clip, as the store has it.
    """

    manifest: Manifest
    vectors: np.ndarray
    keys: dict[str, str]

    @classmethod
    def open(cls, manifest: Manifest, file: str | os.PathLike, whole: Manifest | None = None) -> VectorSet:
        """The vectors of a manifest's clips.

        Parameters
        ----------
        file : path
            From the working directory on, or else from the manifest's folder; ``{dataset}`` stands for its name.
            See `embcomp.storage.vectors.open_vectors`.
        whole : Manifest, optional
            What `manifest` is a part of: a file without ids has a row for each clip of it.

        Raises
        ------
        StoreError
            The file is missing or damaged, lacks a clip, or a vector is not finite.
        """
        name = os.fspath(file).replace("{dataset}", manifest.name)
        path = Path(name) if os.path.exists(name) else brought_from(manifest.folder, name)
        ids = manifest.ids
        store = matched(open_vectors(path, (whole or manifest).ids), ids)
        rows = store.rows(ids)
        vectors = np.asarray(store.take(ids), dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise StoreError(
                f"{path}: {len(bad)} of {len(ids)} vectors are NaN or infinite, that of {ids[bad[0]]!r} first"
            )
        return cls(manifest, vectors, {name: store.hashes[row] for name, row in zip(ids, rows)})


@dataclass(frozen=True)
class CompressorEvaluation:
    """What `evaluate_compressor` found.

    Attributes
    ----------
    table : DataFrame
        Rows of scores.csv: a regression and nearest neighbours on the vectors as they are, and on the targets.
    left_out : dict of str to int
        Labels that the probes do not know, and how many clips have them.
    not_tested : tuple of str
        Classes without a clip.
    """

    table: pd.DataFrame
    left_out: dict[str, int]
    not_tested: tuple[str, ...]


def evaluate_compressor(
    compressor: Compressor,
    tested: VectorSet,
    *,
    probe_on: VectorSet | None = None,
    config: EvaluationConfig | None = None,
    label_map: dict[str, str] | None = None,
    allow_seen: bool = False,
    reestimate: bool = False,
    seed: int = 0,
) -> CompressorEvaluation:
    """Score what a compressor leaves of stored vectors, on the labelled clips of a manifest.

    Probes are fitted on `probe_on` and tested on all of `tested`; without it they are cross-validated on `tested`, in
    up to five folds that keep groups whole. The compressor is not fitted again.

    Parameters
    ----------
    label_map : dict, optional
        From the labels of `tested` to those of `probe_on`.
    allow_seen : bool, default=False
        Score clips that the compressor was fitted on, too.
    reestimate : bool, default=False
        Also with vectors standardised by the statistics of `tested` instead of `probe_on`.

    Raises
    ------
    ConfigError
        `reestimate` or `label_map` without `probe_on`, or vectors of another width than the compressor takes.
    DataError
        The compressor was fitted on clips that are tested.
    ManifestError
        A clip is in both sets, or in two groups.
    """
    config = config or EvaluationConfig()
    manifest = tested.manifest
    for name, value in (("--reestimate", reestimate), ("--label-map", label_map)):
        if value and probe_on is None:
            raise ConfigError(
                f"{name} is for probes that are fitted on other clips; give these with --probe-on MANIFEST"
            )
    for one in [tested, *([probe_on] if probe_on else [])]:
        if one.vectors.shape[1] != compressor.n_features_in_:
            raise ConfigError(
                f"the vectors of {one.manifest.name} have {one.vectors.shape[1]} dimensions, the compressor takes "
                f"{compressor.n_features_in_}"
            )
    if not allow_seen:
        refuse_seen("the compressor was fitted on", compressor.seen, tested.keys)
    if probe_on is None:
        refuse_duplicates(
            manifest.ids, list(tested.keys.values()), manifest.groups.tolist(), manifest.name, "group",
            "Keep one of each, or give them one group", "vector",
        )  # fmt: skip
    else:
        where = f"{probe_on.manifest.name}, which the probes are fitted on, and {manifest.name}"
        refuse_shared_clips(probe_on.keys, tested.keys, where, "vector")
    parts = list(_parts(tested, probe_on, label_map, seed))
    rows: list[dict] = []
    for vectors, name in ((Vectors.EMBEDDING, "raw"), (Vectors.TARGET, "compressed")):
        transform = compressor.transform if vectors == Vectors.TARGET else np.asarray
        about = _about(compressor if vectors == Vectors.TARGET else None, probe_on or tested, tested)
        settings = [Setting.IN_DOMAIN] if probe_on is None else [Setting.CROSS_DATASET, *[Setting.ADAPTED] * reestimate]
        for kind, prefix in KINDS.items():
            found: dict[str, list[Predictions]] = {setting: [] for setting in settings}
            for learned_on, labels, mapped in parts:
                predict = fit_probe(kind, transform(learned_on), labels)
                everything = transform(tested.vectors)
                for setting in settings:
                    options = [everything] if setting == Setting.ADAPTED else []
                    probabilities = predict(everything[mapped.kept], *options)
                    found[setting].append(scored_predictions(manifest, mapped, probabilities))
            for setting, pieces in found.items():
                more = {"variant": prefix + name, "setting": setting, "probe": kind, "vectors": vectors}
                rows += [row | more for row in score_rows(pieces, config, about)]
    return CompressorEvaluation(pd.DataFrame(rows), *_lacking(parts))


Fitted = tuple[np.ndarray, Labels, MappedLabels]


def _parts(
    tested: VectorSet, probe_on: VectorSet | None, label_map: dict[str, str] | None, seed: int
) -> Iterator[Fitted]:
    """Of each fit of the probes: vectors and labels learned from, and the clips of `tested` that are scored."""
    manifest = tested.manifest
    if probe_on is not None:
        labels = encode(probe_on.manifest.labels)
        yield probe_on.vectors, labels, map_labels(manifest.labels, labels.classes, label_map, labels.multi_label)
        return
    labels = encode(manifest.labels)
    strata, groups = labels.for_splits, manifest.groups
    tested_groups = set(groups[~only_groups(strata, groups)])
    for fold in group_folds(strata, groups, max(2, min(FOLDS, len(tested_groups))), seed):
        cells = [manifest.labels[row] for row in fold.test]
        mapped = map_labels(cells, labels.classes, multi_label=labels.multi_label)
        kept = MappedLabels(mapped.labels, fold.test[mapped.kept], mapped.left_out, mapped.not_tested)
        yield tested.vectors[fold.train], labels.select(fold.train), kept


def _lacking(parts: Sequence[Fitted]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Labels that are not known, with their counts, and classes that no part tests."""
    left_out: dict[str, int] = {}
    for _, _, mapped in parts:
        for label, count in mapped.left_out.items():
            left_out[label] = left_out.get(label, 0) + count
    missing = set.intersection(*(set(mapped.not_tested) for _, _, mapped in parts))
    return left_out, tuple(name for name in parts[0][1].classes if name in missing)


def _about(compressor: Compressor | None, learned: VectorSet, tested: VectorSet) -> dict:
    about = dict.fromkeys(COLUMNS[:6], "") | {"method": "probe"}
    if compressor is not None:
        about |= {"compressor": f"{compressor.method}/{compressor.objective}", "dim": compressor.n_components_}
    names = {"train_dataset": learned.manifest.name, "test_dataset": tested.manifest.name}
    return about | names | {"unit": f"{tested.manifest.unit}s", "unseen": tested.manifest.unseen}
