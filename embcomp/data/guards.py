"""What must not be learned from what is tested: leaks are found by content and refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from embcomp.errors import DataError, ManifestError


def shared_clips(train: Mapping[str, str], test: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs (training clip, test clip) with the same audio.

    Parameters
    ----------
    train, test : mapping of str to str
        Content hash by clip name.
    """
    name_of = {key: clip for clip, key in reversed(train.items())}
    return [(name_of[key], clip) for clip, key in test.items() if key in name_of]


def refuse_shared_clips(train: Mapping[str, str], test: Mapping[str, str], where: str) -> None:
    """Refuse audio that is on both sides, under whatever name.

    Parameters
    ----------
    where : str
        Which sides, for the message: ``"fold 2: training and test clips"``.

    Raises
    ------
    ManifestError
        Names the first pair.
    """
    pairs = shared_clips(train, test)
    if pairs:
        learned, tested = pairs[0]
        raise ManifestError(
            f"{where} share {len(pairs)} clips by content: {tested!r} is the same audio as {learned!r}, so a score on it "
            "would mean nothing. Keep one of them"
        )


def refuse_shared_groups(train: Iterable[str], test: Iterable[str], where: str, advice: str) -> None:
    """Refuse groups that are on both sides.

    Parameters
    ----------
    train, test : iterable of str
        Groups.
    where : str
        What has two sides, for the message: ``"split 'a'"``.
    advice : str
        How to mend it.

    Raises
    ------
    ManifestError
        Names the first group.
    """
    shared = sorted(set(train) & set(test))
    if shared:
        raise ManifestError(
            f"{where} shares {len(shared)} groups between train and test, {shared[0]!r} first: the score would be too good. "
            f"{advice}"
        )


def refuse_seen(what: str, seen: Callable[[list[str]], Iterable[str]], test: Mapping[str, str]) -> None:
    """Refuse to score what was fitted on a test clip.

    Parameters
    ----------
    what : str
        What was fitted and how, for the message: ``"the student was trained on"``.
    seen : callable
        Content hashes to those of them that it was fitted on.
    test : mapping of str to str
        Content hash of each test clip by its name.

    Raises
    ------
    DataError
        Names the first clip.
    """
    met = set(seen(list(test.values())))
    clips = [clip for clip, key in test.items() if key in met]
    if clips:
        raise DataError(f"{what} {len(clips)} of these clips, {clips[0]!r} first; a score on them would mean nothing")


def duplicates(ids: Sequence[str], hashes: Sequence[str]) -> list[list[int]]:
    """Rows of clips with the same content, a list for each content that occurs more than once."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(hashes):
        rows.setdefault(key, []).append(row)
    return [found for found in rows.values() if len(found) > 1]


def refuse_duplicates(
    ids: Sequence[str], hashes: Sequence[str], sides: Sequence[str], name: str, kind: str, advice: str
) -> int:
    """Refuse the same audio in two groups, or two splits, which could part it between training and test.

    Parameters
    ----------
    ids, hashes : sequence of str
        Names and content hashes of the clips of a data set.
    sides : sequence of str
        The group, or split, of each.
    name : str
        Of the data set.
    kind : str
        What a side is: ``"group"``, ``"split"``.
    advice : str
        How to mend it.

    Returns
    -------
    int
        How many clips repeat another of their own side, which is harmless.

    Raises
    ------
    ManifestError
        Names the first clips and how many there are.
    """
    found = duplicates(ids, hashes)
    parted = [rows for rows in found if len({sides[row] for row in rows}) > 1]
    if parted:
        first = parted[0][0]
        other = next(row for row in parted[0] if sides[row] != sides[first])
        raise ManifestError(
            f"{name} has {len(parted)} clips whose audio is in more than one {kind}: {ids[first]!r} "
            f"({kind} {sides[first]!r}) is the same audio as {ids[other]!r} ({kind} {sides[other]!r}), so that it could "
            f"be trained on and tested. {advice}"
        )
    return sum(len(rows) - 1 for rows in found)


def joined_groups(groups: Sequence[str], hashes: Sequence[str]) -> list[str]:
    """Groups with those joined that hold the same audio; a joined one has the name of its first in order.

    Examples
    --------
    >>> joined_groups(["ann", "bob", "cid", "bob"], ["h1", "h1", "h2", "h3"])
    ['ann', 'ann', 'cid', 'ann']
    """
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    first: dict[str, str] = {}
    for group, key in zip(groups, hashes):
        one, other = root(first.setdefault(key, group)), root(group)
        parent[max(one, other)] = min(one, other)
    return [root(group) for group in groups]
