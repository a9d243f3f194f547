"""What must not be learned from what is tested: leaks are found by content and refused by name.

Content is a key of a file and a part of it (`embcomp.storage.content`): two parts of a file that overlap are one audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from embcomp.errors import DataError, ManifestError, counted
from embcomp.storage.content import GRACE, Spans, chains, older_keys, span


def shared_clips(train: Mapping[str, str], test: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs (training clip, test clip) that share audio: the same content, or parts of one file that overlap.

    Parameters
    ----------
    train, test : mapping of str to str
        Content key by clip name, see `embcomp.storage.content`.
    """
    spans, names = Spans(train.values()), list(train)
    found = ((spans.find(key), clip) for clip, key in test.items())
    return [(names[number], clip) for number, clip in found if number >= 0]


def _same(one: str, other: str, content: str) -> str:
    return f"is the same {content} as" if one == other else "overlaps"


def seen_among(seen: Iterable[str]) -> Callable[[list[str]], set[str]]:
    """A function that says which content keys share audio with one of `seen`.

    Parameters
    ----------
    seen : iterable of str
        Content keys, as a student keeps them; those of older students count as well.
    """
    spans = Spans(seen)
    known = frozenset(spans.keys)
    return lambda keys: {key for key in keys if spans.find(key) >= 0 or known & older_keys(key)}


def refuse_shared_clips(train: Mapping[str, str], test: Mapping[str, str], where: str, content: str = "audio") -> None:
    """Refuse audio that is on both sides, under whatever name.

    Parameters
    ----------
    where : str
        Which sides, for the message: ``"fold 2: training and test clips"``.
    content : str, default="audio"
        What the keys are of, for the message: ``"vector"``, ``"image"``.

    Raises
    ------
    ManifestError
        Names the first pair.
    """
    pairs = shared_clips(train, test)
    if pairs:
        learned, tested = pairs[0]
        raise ManifestError(
            f"{where} share {counted(len(pairs), 'clip')} by content: {tested!r} {_same(test[tested], train[learned], content)} {learned!r}, "
            "so a score on it would mean nothing. Keep one of them"
        )


def refuse_shared_groups(
    train: Iterable[str], test: Iterable[str], where: str, advice: str, sides: str = "train and test"
) -> None:
    """Refuse groups that are on both sides.

    Parameters
    ----------
    train, test : iterable of str
        Groups.
    where : str
        What has two sides, for the message: ``"split 'a'"``.
    advice : str
        How to fix it.
    sides : str
        What the two are called.

    Raises
    ------
    ManifestError
        Names the first group.
    """
    shared = sorted(set(train) & set(test))
    if shared:
        raise ManifestError(
            f"{where} shares {counted(len(shared), 'group')} between {sides}, {shared[0]!r} first: the score would be too good. "
            f"{advice}"
        )


def refuse_seen(
    what: str, seen: Callable[[list[str]], Iterable[str]], test: Mapping[str, str], advice: str = ""
) -> None:
    """Refuse to score what was fitted on a test clip.

    Parameters
    ----------
    what : str
        What was fitted and how, for the message: ``"the student was trained on"``.
    seen : callable
        Content keys to those of them that it was fitted on; see `seen_among`.
    test : mapping of str to str
        Content key of each test clip by its name.
    advice : str, optional
        How to fix it.

    Raises
    ------
    DataError
        Names the first clip.
    """
    met = set(seen(list(test.values())))
    clips = [clip for clip, key in test.items() if key in met]
    if clips:
        raise DataError(
            f"{what} {len(clips)} of these clips, {clips[0]!r} first; a score on them would mean nothing"
            + (f". {advice}" if advice else "")
        )


def duplicates(keys: Sequence[str]) -> list[list[int]]:
    """Rows of clips that share audio, a list for each chain of such clips, in the order of `keys`."""
    rows: dict[int, list[int]] = {}
    for row, chain in enumerate(chains(keys)):
        rows.setdefault(int(chain), []).append(row)
    return [found for found in rows.values() if len(found) > 1]


def _across(rows: Sequence[int], keys: Sequence[str], sides: Sequence[str]) -> tuple[int, int]:
    """Two of the clips `rows`, a chain with more than one side, that share audio and differ in side."""
    furthest: dict[str, tuple[float, int]] = {}  # by side, the part that ends last, of equals the first
    for row in sorted(rows, key=lambda row: (*span(keys[row])[1:], row)):
        _, start, end = span(keys[row])
        for side, (reach, other) in furthest.items():
            if side != sides[row] and (reach > start + GRACE or keys[other] == keys[row]):
                return min(row, other), max(row, other)
        known = furthest.get(sides[row], (end, row))
        furthest[sides[row]] = max(known, (end, row), key=lambda one: (one[0], -one[1]))
    return rows[0], rows[-1]


def refuse_duplicates(
    ids: Sequence[str],
    keys: Sequence[str],
    sides: Sequence[str],
    name: str,
    kind: str,
    advice: str,
    content: str = "audio",
) -> int:
    """Refuse the same audio in two groups, or two splits, which could part it between training and test.

    Parameters
    ----------
    ids, keys : sequence of str
        Names and content keys of the clips of a data set.
    sides : sequence of str
        The group, or split, of each.
    name : str
        Of the data set.
    kind : str
        What a side is: ``"group"``, ``"split"``.
    advice : str
        How to fix it.
    content : str, default="audio"
        What the keys are of, for the message.

    Returns
    -------
    int
        How many clips repeat or overlap another of their own side, which is harmless.

    Raises
    ------
    ManifestError
        Names the first clips and how many there are.
    """
    found = duplicates(keys)
    parted = [rows for rows in found if len({sides[row] for row in rows}) > 1]
    if parted:
        first, other = _across(parted[0], keys, sides)
        raise ManifestError(
            f"{name} has {counted(len(parted), 'clip')} whose {content} is in more than one {kind}: {ids[first]!r} "
            f"({kind} {sides[first]!r}) {_same(keys[first], keys[other], content)} {ids[other]!r} ({kind} {sides[other]!r}), so that "
            f"it could be trained on and tested. {advice}"
        )
    return sum(len(rows) - 1 for rows in found)


def joined_groups(groups: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Groups with those joined that share audio; a joined one has the name of its first in order.

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

    first: dict[int, str] = {}
    for group, chain in zip(groups, chains(keys).tolist()):
        one, other = root(first.setdefault(chain, group)), root(group)
        parent[max(one, other)] = min(one, other)
    return [root(group) for group in groups]
