"""How many dimensions the target needs: the curve of every compression method on stored embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from embcomp.compression.rows import Rows
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.errors import MissingDependencyError
from embcomp.evaluation.dimension import DEFAULT_METHODS, Recommendation, dimension_curve, plot_curve, recommend
from embcomp.storage.files import write_table
from embcomp.storage.outputs import into_results
from embcomp.storage.ownership import check_results, mark_results
from embcomp.teachers import StoredTeacher

FILES = ("curve.csv", "curve.png")


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes
    ----------
    folder : Path
        Has curve.csv, and curve.png if matplotlib is installed.
    curve : DataFrame
        See `embcomp.evaluation.dimension.dimension_curve`.
    recommendation : Recommendation
    no_plot : str
        Why there is no curve.png; empty if there is one.
    """

    folder: Path
    curve: pd.DataFrame
    recommendation: Recommendation
    no_plot: str


@into_results
def sweep(
    store: str | os.PathLike,
    manifest: Manifest,
    out: str | os.PathLike,
    *,
    splits: Sequence[str] = (),
    dims: Sequence[int] | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    margin: float = 0.02,
    folds: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SweepResult:
    """Measure every compression method at every size and recommend the smallest size that is good enough.

    Parameters
    ----------
    store : path
        A store, or a file of embeddings; see `embcomp.storage.vectors.open_vectors`.
    manifest : Manifest
        Labels and groups of the clips.
    out : path
        Folder for curve.csv and curve.png.
    splits : sequence of str
        Use only clips with one of these values in the column split; empty: all.
    dims, methods : sequence of int, sequence of str
        Sizes and compression methods to try; see `embcomp.evaluation.dimension.dimension_curve`.
    margin : float, default=0.02
        Accepted loss of score against the full embedding.
    folds, seed : int, default=5, 0
    progress : callable, optional
        Called with what is done and what there is in all.

    Returns
    -------
    SweepResult

    Raises
    ------
    StoreError
        The embeddings are missing, damaged, or lack a clip of the manifest.
    ManifestError, ConfigError, DataError
        No such split or method, or too few groups, classes or rows.

    Examples
    --------
    >>> import embcomp                                                          # doctest: +SKIP
    >>> manifest = embcomp.Manifest.read("train.csv")                           # doctest: +SKIP
    >>> print(embcomp.sweep("embeddings", manifest, "sweep").recommendation)    # doctest: +SKIP
    """
    out = Path(out)
    check_results(out, "sweep", FILES, _older)
    chosen = manifest.with_splits(splits)
    vectors = StoredTeacher(store, manifest).rows(chosen.ids)
    labels = encode(chosen.labels, check=False)
    target = labels.matrix if labels.multi_label else labels.index
    # The ids are for messages.
    vectors = Rows([vectors], chosen.ids)
    curve = dimension_curve(vectors, target, chosen.groups, dims, methods, folds=folds, seed=seed, progress=progress)
    curve = curve.assign(unseen=chosen.unseen)
    mark_results(out, "sweep")
    write_table(out / "curve.csv", curve)
    no_plot = ""
    try:
        plot_curve(curve, out / "curve.png", margin)
    except MissingDependencyError as error:
        no_plot = str(error)
    return SweepResult(out, curve, recommend(curve, margin), no_plot)


def _older(folder: Path) -> bool:
    """Whether this is the folder of a sweep of before they were marked."""
    try:
        with open(folder / "curve.csv", encoding="utf-8") as file:
            return file.readline().startswith("method,dim,")
    except (OSError, UnicodeDecodeError):
        return False
