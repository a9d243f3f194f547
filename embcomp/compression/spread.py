"""A compressor fitted by several workers: each sums the moments of some rows, and the sums are added as a tree.

The tree is that of `embcomp.compression.tree`, of which every job takes one branch: so the compressor has the bytes of
one process. Sums lie in files, and a call that was interrupted goes on from those that are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embcomp.compression.ambient import own_torch
from embcomp.compression.fit import fit_rows
from embcomp.compression.moments import Moments, summed_in
from embcomp.compression.parameters import fitted_by_moments
from embcomp.compression.rows import Rows, as_rows, raise_not_finite
from embcomp.compression.targets import Membership, Targets
from embcomp.compression.tree import NotFinite, added, branches, leaf_moments, leaves
from embcomp.engines import ENGINES, open_engine
from embcomp.errors import ConfigError, choose
from embcomp.storage.arrays import WriterLock, open_array
from embcomp.storage.chunks import chunk_folder, clear, read_chunk, write_chunk
from embcomp.storage.files import read_json, write_json
from embcomp.storage.shards import PickedRows, place_of, rows_at

if TYPE_CHECKING:
    from embcomp.compression.compressor import Compressor

SHARES = 4  # jobs for each worker at least, so that none waits long for the last
MOST = 64  # leaves of a job at most: what is lost where a worker dies
PLAN, LABELS, ROWS = "plan.json", "labels.npy", "rows.npy"
OURS = ("[0-9]*-[0-9]*.npz*", f"*{PLAN}*", f"{LABELS}*", f"{ROWS}*")


def fit_spread(
    model: Compressor,
    vectors: Any,
    y: Any,
    ids: Sequence[str] | None,
    out: str | Path,
    *,
    workers: int,
    engine: str = "local",
    threads: int = 1,
) -> Compressor:
    """Fit a compressor by several workers, as `Compressor.fit` does by one.

    Vectors that are in memory are summed by this process alone.

    Parameters
    ----------
    vectors : memory map, ShardedRows or PickedRows of shape (n, dim)
    y : array-like of shape (n,) or (n, n_classes), or None
    ids : sequence of str
    out : path
        Where the compressor will be saved; sums lie beside it, in the hidden folder ``.NAME.moments``, until it is fitted.
    workers : int
        See `embcomp.engines.open_engine`, as for `engine` and `threads`.

    Raises
    ------
    ConfigError
        The method is not fitted by moments.
    BusyError
        Another process does the same.
    """
    out, params = Path(out), model._checked_params()
    check_spread(params, engine)
    picked = vectors.rows if isinstance(vectors, PickedRows) else None
    place = place_of(vectors.data if isinstance(vectors, PickedRows) else vectors)
    with WriterLock(out, "a compressor"), open_engine(engine, workers, threads) as crew, own_torch():
        if place is None:
            return model.fit(vectors, y, ids=ids)
        rows = model._rows(as_rows(vectors), reset=True)
        sums = _Sums(crew, place, picked, out)
        model._take(fit_rows(params, rows, y, None, ids, None, sums))
        clear(sums.folder, OURS)
        return model


def check_spread(params: dict[str, Any], engine: str = "local") -> None:
    """Refuse parameters of a compressor that several workers cannot fit.

    Raises
    ------
    ConfigError
        The method trains on rows, its moments are not those of all rows, or there is no such engine.
    """
    choose("engine", engine, ENGINES)
    if not fitted_by_moments(params):
        raise ConfigError(
            f"workers cannot share method {params['method']!r} with objective {params['objective']!r}, which trains on "
            "rows; they share identity, random, pca and lda, and linear with objective reconstruction. "
            "Leave --workers and --engine out"
        )
    if params["solver"] != "exact":
        raise ConfigError(f"workers share solver='exact' alone, not {params['solver']!r}")


class _Sums:
    """`embcomp.compression.solvers.sums`, by workers.

    Parameters
    ----------
    place : dict
        From `embcomp.storage.shards.place_of`.
    picked : ndarray of int64, optional
        Rows there that are summed; all by default.
    """

    def __init__(self, crew: Any, place: dict[str, Any], picked: np.ndarray | None, out: Path):
        self.crew, self.place, self.picked, self.out = crew, place, picked, out
        self.folder = Path()

    def __call__(
        self, rows: Rows, membership: Membership | None, solver: str, n_components: float | None, seed: int
    ) -> tuple[Moments, Moments | None]:
        by_class = [False] if membership is None else [True] if membership.one_each() else [True, False]
        job = self._begin(rows, membership, by_class)
        count = leaves(len(rows))
        todo = [one for one in branches(0, count, _size(count, self.crew.workers)) if not self._there(*one, count)]
        jobs = [{**job, "start": start, "stop": stop} for start, stop in todo]
        for _, finite in self.crew.map(sum_branch, jobs):
            if not finite:
                clear(self.folder, OURS)
                raise_not_finite(rows)
        made = set(todo)

        def known(start: int, stop: int) -> list[Moments] | None:
            file = _file(self.folder, start, stop)
            return _read(file, len(by_class)) if (start, stop) in made or file.exists() else None

        found = added(0, count, _missing, known)
        return (found[-1], None) if membership is None else (found[-1], found[0])

    def _begin(self, rows: Rows, membership: Membership | None, by_class: list[bool]) -> dict[str, Any]:
        """What every job is given; sums of other rows are cleared away."""
        given = {ROWS: self.picked, LABELS: None if membership is None else membership.targets.values}
        weights = None if membership is None else membership.weights
        plan = {
            "place": self.place,
            "dtype": str(summed_in(rows)),
            "by_class": by_class,
            "classes": 0 if membership is None else len(membership.targets.classes),
            "weights": None if weights is None else np.asarray(weights, dtype=float).tolist(),
            "given": {
                name: None if one is None else hashlib.sha256(np.ascontiguousarray(one).data).hexdigest()
                for name, one in given.items()
            },
        }
        self.folder = chunk_folder(self.out, "moments", OURS, keep=True)
        before = self.folder / PLAN
        if before.exists() and read_json(before) != plan:
            self.folder = chunk_folder(self.out, "moments", OURS)
        for name, array in given.items():
            if array is not None:
                write_chunk(self.folder / name, array)
        write_json(self.folder / PLAN, plan)
        return {"plan": {name: value for name, value in plan.items() if name != "given"}, "folder": str(self.folder)}

    def _there(self, start: int, stop: int, count: int) -> bool:
        """Whether the sums of a branch, or of one that it is part of, are there."""
        size = 1 << (stop - start - 1).bit_length()
        while size < 2 * max(count, MOST):
            first = start // size * size
            if _file(self.folder, first, min(first + size, count)).exists():
                return True
            size *= 2
        return False


def _size(count: int, workers: int) -> int:
    """Leaves of a job, a power of two."""
    size = 1
    while size < MOST and 2 * size * SHARES * max(1, workers) <= count:
        size *= 2
    return size


def _missing(number: int) -> list[Moments]:
    raise AssertionError(f"nobody has summed leaf {number}")


def sum_branch(plan: dict[str, Any], folder: str, start: int, stop: int) -> bool:
    """Add up the leaves from `start` to `stop`, and write their sums into `folder`; False says that some are not finite.

    Raises
    ------
    StoreError
        The rows are not there or were changed, or sums cannot be written.
    """
    here = Path(folder)
    data = rows_at(plan["place"])
    rows = Rows([PickedRows(data, open_array(here / ROWS)) if (here / ROWS).exists() else data])
    membership = None
    if plan["classes"]:
        targets = Targets(open_array(here / LABELS), list(range(plan["classes"])))
        membership = Membership(targets, None if plan["weights"] is None else np.array(plan["weights"]))

    def leaf(number: int) -> list[Moments]:
        dtype = np.dtype(plan["dtype"])
        return [leaf_moments(rows, membership if one else None, number, dtype) for one in plan["by_class"]]

    def known(first: int, last: int) -> list[Moments] | None:
        file = _file(here, first, last)
        return _read(file, len(plan["by_class"])) if file.exists() else None

    try:
        found = added(start, stop, leaf, known)
    except NotFinite:
        return False
    write_chunk(
        _file(here, start, stop),
        {f"{name}{kind}": array for kind, one in enumerate(found) for name, array in one.arrays().items()},
    )
    return True


def _file(folder: Path, start: int, stop: int) -> Path:
    return folder / f"{start}-{stop}.npz"


def _read(file: Path, kinds: int) -> list[Moments]:
    arrays = read_chunk(file)
    return [
        Moments.of_arrays(
            {name.removesuffix(str(kind)): one for name, one in arrays.items() if name.endswith(str(kind))}  # type: ignore[union-attr]
        )
        for kind in range(kinds)
    ]
