"""Labels and groups out of paths: by a pattern, or by the parts that file names are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from embcomp.errors import ManifestError

SEPARATORS = re.compile(r"[-_. ]+")


def by_pattern(names: Sequence[str], pattern: str, option: str) -> list[str]:
    """What a regular expression finds in each path.

    Parameters
    ----------
    names : sequence of str
        Paths from the folder of the source, ``/`` between.
    pattern : str
        Searched anywhere in the path. Its result are the bracketed parts, joined by ``-``, or all it matches
        where it has none.
    option : str
        Where the pattern came from, for messages: ``"--group"``.

    Raises
    ------
    ManifestError
        It is no regular expression, does not match some path, or finds nothing in it.

    Examples
    --------
    >>> by_pattern(["dog/ann_1.wav", "cat/bob_1.wav"], r"/([a-z]+)_", "--group")
    ['ann', 'bob']
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ManifestError(f"{option} '{pattern}' is not a regular expression: {error}") from None
    found, missed = [], []
    for name in names:
        match = compiled.search(name)
        value = "" if match is None else "-".join(filter(None, match.groups())) if match.re.groups else match[0]
        found.append(value.strip())
        if not found[-1]:
            missed.append(name)
    if missed:
        raise ManifestError(
            f"{option} '{pattern}' finds nothing in {len(missed)} of {len(names)} paths, {missed[0]!r} first; it is "
            "searched in the path from the folder on, with / between"
        )
    return found


@dataclass(frozen=True)
class NamePart:
    """One part of file names that are all made alike.

    Attributes
    ----------
    number : int
        Its place, from 1.
    values : tuple of str
        What it is in the files, each once, in order of occurrence.
    pattern : str
        The regular expression that finds it, for ``--group`` or ``--label``.
    """

    number: int
    values: tuple[str, ...]
    pattern: str


def name_parts(names: Sequence[str]) -> list[NamePart]:
    """Parts of the file names, counted from the start, as far as all names have them.

    Names are parted at ``-``, ``_``, ``.`` and blanks; the ending does not count. Parts that are the same in
    all files are left out, as they tell nothing.

    Examples
    --------
    >>> [(part.number, part.values) for part in name_parts(["a/s1_ann.wav", "b/s2_ann.wav", "b/s2_bob.wav"])]
    [(1, ('s1', 's2')), (2, ('ann', 'bob'))]
    """
    parted = [SEPARATORS.split(PurePosixPath(name).stem) for name in names]
    if min(map(len, parted), default=0) < 2:
        return []
    found = []
    for number, values in enumerate(zip(*parted), 1):
        different = tuple(dict.fromkeys(values))
        if len(different) > 1 and "" not in different:
            times = f"{{{number - 1}}}" if number > 2 else ""
            before = rf"(?:[^/\-_. ]*[-_. ]+){times}" if number > 1 else ""
            found.append(NamePart(number, different, rf"(?:^|/){before}([^/\-_. ]+)[^/]*$"))
    return found


def group_parts(names: Sequence[str], labels: Sequence[str]) -> list[NamePart]:
    """Parts of the file names that may say what must not be split.

    A part that is another in each clip groups nothing, and one that goes with the label leaves nothing to test.
    """
    found = []
    for part in name_parts(names):
        values = by_pattern(names, part.pattern, "the part of a name")
        if len(set(values)) < len(values) and len(set(zip(values, labels))) > len(set(labels)):
            found.append(part)
    return found
