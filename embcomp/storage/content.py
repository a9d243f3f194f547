"""What audio a clip is: a key of its file's content and of its place in it; keys that share audio overlap."""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np

GRACE = 1e-3  # seconds that two parts of a file may have in common by rounding
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_PART = re.compile(rf"(.+)#({_NUMBER})-({_NUMBER})?", re.DOTALL)


def part_key(file: str, start: float | None = None, end: float | None = None) -> str:
    """Key of a part of a file; of the whole file where neither end is given.

    Parameters
    ----------
    file : str
        The file's name, or hash.
    start, end : float, optional
        Seconds; None is the file's own.

    Examples
    --------
    >>> part_key("a.wav", 1.5, 2), part_key("a.wav", 1.5), part_key("a.wav")
    ('a.wav#1.5-2', 'a.wav#1.5-', 'a.wav')
    """
    if start is None and end is None:
        return file
    # Microseconds of an hour-long file need more digits than :g has.
    return f"{file}#{start or 0.0:.12g}-" + ("" if end is None else f"{end:.12g}")


def span(key: str) -> tuple[str, float, float]:
    """File, start and end (seconds) of a key; a whole file goes from 0 to infinity.

    Examples
    --------
    >>> span("a.wav#1.5-2"), span("a.wav")
    (('a.wav', 1.5, 2.0), ('a.wav', 0.0, inf))
    """
    found = _PART.fullmatch(key)
    if found is None:
        return key, 0.0, math.inf
    return found[1], float(found[2]), float(found[3]) if found[3] else math.inf


def older_keys(key: str) -> set[str]:
    """What older versions may have called a part of a file: the hash of both, where its start was written, or was not."""
    file, start, end = span(key)
    if file == key:
        return set()
    stop = None if math.isinf(end) else end
    places = [(start, stop)] + ([(None, stop)] if start == 0 else [])
    return {hashlib.sha256(f"{file}{place}".encode()).hexdigest()[:16] for place in places}


class Spans:
    """Keys among which one that shares audio with another key is found in logarithmic time.

    Parameters
    ----------
    keys : iterable of str
    """

    def __init__(self, keys: Iterable[str]):
        self.keys = list(keys)
        self._number = {key: number for number, key in reversed(list(enumerate(self.keys)))}
        by_file: dict[str, list[tuple[float, float, int]]] = {}
        for number, key in enumerate(self.keys):
            file, start, end = span(key)
            by_file.setdefault(file, []).append((start, end, number))
        self._files: dict[str, tuple[list[float], list[tuple[float, int]]]] = {}
        for file, parts in by_file.items():
            parts.sort()
            furthest: list[tuple[float, int]] = []
            for _, end, number in parts:
                furthest.append(max(furthest[-1:] + [(end, -number)]))
            self._files[file] = [start for start, _, _ in parts], furthest

    def find(self, key: str) -> int:
        """Number of a key that shares audio with `key`, the same one first; -1 without any."""
        if key in self._number:
            return self._number[key]
        file, start, end = span(key)
        starts, furthest = self._files.get(file, ((), ()))
        before = bisect_left(starts, end - GRACE)
        if before and furthest[before - 1][0] > start + GRACE:
            return -furthest[before - 1][1]
        return -1


def chains(keys: Sequence[str]) -> np.ndarray:
    """Number of the chain of overlapping parts that each key belongs to, int64 (n,).

    Examples
    --------
    >>> chains(["a#0-2", "b", "a#1-3", "a#3-4", "a#2.5-2.9", "b"]).tolist()
    [0, 1, 0, 2, 0, 1]
    """
    parts = sorted((*span(key), key, number) for number, key in enumerate(keys))
    chain = np.empty(len(keys), dtype=np.int64)
    count, last_file, last_key, reach = -1, None, None, 0.0
    for file, start, end, key, number in parts:
        if key != last_key and (file != last_file or start >= reach - GRACE):
            count, reach = count + 1, 0.0
        chain[number] = count
        last_file, last_key, reach = file, key, max(reach, end)
    # In the order in which chains are first met.
    _, first, number = np.unique(chain, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number].astype(np.int64) if len(keys) else chain
