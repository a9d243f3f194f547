"""Train, validation and test rows that never share a group."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embcomp.data.guards import refuse_shared_groups
from embcomp.errors import ManifestError, counted


@dataclass(frozen=True)
class Fold:
    """One way to part a data set.

    Attributes
    ----------
    name : str
    train, test : ndarray of int64
        Row numbers; `test` may be empty.
    validation : ndarray of int64 or None
        Rows that are neither, to stop on; None leaves them to be taken from `train`.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray | None = None


def only_groups(strata: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Which clips belong to a group that is the only one of some class, bool (n,).

    Such a group must stay in training: tested, it would ask for a class never learned.
    """
    pinned = set()
    for value in np.unique(strata[strata >= 0]):
        of_class = set(groups[strata == value])
        if len(of_class) == 1:
            pinned |= of_class
    return np.array([group in pinned for group in groups], dtype=bool)


def halves(groups: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two halves that share no group, of about as many clips each; labels play no part.

    Parameters
    ----------
    groups : sequence of str, of length n
    seed : int

    Returns
    -------
    first, second : ndarray of int64
        Rising row numbers, neither of them empty.

    Raises
    ------
    ManifestError
        There is one group only.
    """
    names, owner, counts = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ManifestError(_one_group(groups))
    second = np.zeros(len(names), dtype=bool)
    size = [0, 0]
    for name in np.random.default_rng(seed).permutation(len(names)):
        side = int(size[1] <= size[0])
        second[name] = side
        size[side] += counts[name]
    return np.flatnonzero(~second[owner]), np.flatnonzero(second[owner])


def group_folds(strata: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> list[Fold]:
    """Stratified folds that keep each group whole; 0 folds leaves one group out at a time.

    A group that is the only one of its class is in the training rows of every
    fold, so that class is not tested (`only_groups` says which).

    Parameters
    ----------
    strata : ndarray of shape (n,)
        Class number of each clip; -1 without a label.
    groups : ndarray of shape (n,)

    Raises
    ------
    ManifestError
        There is one group only, there are fewer groups than folds, or every class has fewer clips.
    """
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

    always = np.flatnonzero(only_groups(strata, groups))
    rows = np.setdiff1d(np.arange(len(groups)), always)
    names = np.unique(groups[rows].astype(str))
    if len(set(groups)) < 2:
        raise ManifestError(_one_group(groups))
    if folds == 1:
        raise ManifestError("1 fold leaves nothing to train on; use 0 (leave one group out), 2 or more")
    if len(names) < max(folds, 2):
        raise ManifestError(_too_few(folds, names.tolist(), len(set(groups)) - len(names)))
    if folds > np.unique(strata[rows], return_counts=True)[1].max():
        raise ManifestError(f"{folds} folds need a class of as many clips; every class has fewer")
    best: tuple[int, list[Fold]] | None = None
    for attempt in range(4 if folds else 1):
        random = seed + 1000 * attempt
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=random) if folds else LeaveOneGroupOut()
        found, lost = [], 0
        for number, (train, test) in enumerate(_parts(splitter, rows, strata, groups)):
            name = str(number + 1) if folds else f"without-{groups[rows[test[0]]]}"
            found.append(Fold(name, np.union1d(rows[train], always), rows[test]))
            lost += len(set(strata[rows[test]]) - set(strata[found[-1].train]) - {-1}) + (len(test) == 0)
        # A set of few groups can put both groups of a class into one fold, or none into another.
        if best is None or lost < best[0]:
            best = lost, found
        if not lost:
            break
    return best[1]


def _one_group(groups: Sequence[str]) -> str:
    """What to say where nothing can be parted."""
    if not len(groups):
        return "there are no clips to part"
    return (
        f"{counted(len(groups), 'clip is', 'clips are all')} of one group, {str(groups[0])!r}, and a group is never both learned from and tested: "
        "give clips of other speakers, recordings or places a group of their own, or test on another data set"
    )


def _too_few(folds: int, names: Sequence[str], pinned: int) -> str:
    """What to say where `names`, the groups that can be tested, are fewer than the folds."""
    said = f"{folds} folds need as many groups" if folds else "leaving out one group at a time needs two groups or more"
    said += f"; {len(names)} can be tested" + (f": {', '.join(names[:5])}" + ", ..." * (len(names) > 5)) * (
        len(names) > 0
    )
    if pinned:
        said += f" ({counted(pinned, 'group')} must stay in training, having the only clips of a class)"
    if len(names) < 2:
        return f"{said}. Add groups to the classes that have one only, or leave these out"
    return f"{said}. Set split.folds to {len(names)} or fewer, or to 0 to leave out one group at a time"


def column_folds(
    splits: np.ndarray,
    groups: np.ndarray,
    test: Sequence[str] = (),
    allow_shared_groups: bool = False,
    validate: Sequence[str] = (),
) -> list[Fold]:
    """Folds as the data set publishes them: each value of the split column is tested once.

    Parameters
    ----------
    splits : ndarray of shape (n,)
        The split column.
    test : sequence of str
        The values to test; by default each in turn.
    allow_shared_groups : bool, default=False
        Accept published splits that put one group on two sides.
    validate : sequence of str
        The values to validate on, in every fold; none by default.

    Raises
    ------
    ManifestError
        A value is not in the column, nothing is left to train or to test on, or a group is on two sides.
    """
    values = sorted({value for value in splits if value})
    if len(values) < 2:
        raise ManifestError(f"the split column holds {values}; two values or more are needed to test on one of them")
    for name, given in (("test", test), ("validate", validate)):
        if unknown := [value for value in given if value not in values]:
            raise ManifestError(f"split.{name} names {unknown}, but the split column holds {values}")
    held = np.flatnonzero(np.isin(splits, list(validate))) if validate else None
    found = []
    for value in test or [value for value in values if value not in validate]:
        rest = (splits != value) & (splits != "") & ~np.isin(splits, list(validate))
        fold = Fold(value, np.flatnonzero(rest), np.flatnonzero(splits == value), held)
        if not len(fold.train):
            raise ManifestError(
                f"the split column holds {values}: testing {value!r} and validating on {list(validate)} leaves nothing to train on"
            )
        if not allow_shared_groups:
            advice = 'Use split.by = "group", or split.allow_shared_groups = true to accept it'
            refuse_shared_groups(groups[fold.train], groups[fold.test], f"split {value!r}", advice)
            if held is not None:
                where, others = f"split.validate = {list(validate)}", np.union1d(fold.train, fold.test)
                refuse_shared_groups(groups[others], groups[held], where, advice, "validation and the rest")
        found.append(fold)
    return found


def validation_split(strata: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Part training rows into rows to fit on and rows to stop on, by group.

    Of the stratified group folds of that size, the one is taken that leaves
    every class something to fit on and holds the most classes; the seed breaks ties.

    Parameters
    ----------
    strata : ndarray of shape (n,)
    groups : ndarray of shape (n,)
    share : float
        About what share of the clips to hold out, in (0, 0.5].

    Returns
    -------
    fit, validation : ndarray of int64

    Raises
    ------
    ManifestError
        Every choice would take some class wholly out of training.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    always = np.flatnonzero(only_groups(strata, groups))
    rows = np.setdiff1d(np.arange(len(groups)), always)
    names = np.unique(groups[rows].astype(str))
    largest = max(np.unique(strata[rows], return_counts=True)[1], default=0)
    count = min(max(2, round(1 / share)), len(names), largest)
    if count < 2:
        raise ManifestError(
            f"validation by group needs two groups or more that can be spared; found {', '.join(names) or 'none'}. "
            "Add groups to the classes that have one only, or leave these out"
        )
    best = None
    for attempt in range(4):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + 1000 * attempt)
        for fit, held in _parts(splitter, rows, strata, groups):
            fit, held = np.union1d(rows[fit], always), rows[held]
            lost = len(set(strata) - set(strata[fit]))
            missing = len(set(strata) - set(strata[held]))
            rank = (lost, missing, attempt, abs(len(held) / len(strata) - share))
            if len(held) and (best is None or rank < best[0]):
                best = (rank, fit, held)
        if best is not None and best[0][:2] == (0, 0):
            break
    if best is None or best[0][0]:
        raise ManifestError(
            "every validation split by group takes a class wholly out of training; give the rarest class more groups"
        )
    return best[1], best[2]


def _parts(splitter, rows: np.ndarray, strata: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    with warnings.catch_warnings():
        # Rare classes are what the callers look after; a warning would only worry the user.
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splitter.split(rows, strata[rows], groups[rows].astype(str)))
