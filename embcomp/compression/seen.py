"""Which clips a compressor has been fitted on, without keeping their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Seen:
    """Ids that fitting used, as hashes.

    Two of a million ids share a hash with a chance of 3e-8.

    Attributes
    ----------
    hashes : ndarray of int64
        First 8 bytes of the SHA-256 of every id, sorted.
    files : ndarray of shape (k,), int64
        Hashes of the files of which only a part was used, those ids being ``file#start-end``; sorted.
    spans : ndarray of shape (k, 2), float64
        Start and end of each part, seconds; the end may be infinite.
    """

    hashes: np.ndarray
    files: np.ndarray
    spans: np.ndarray

    @classmethod
    def of(cls, ids: Iterable[str]) -> Seen:
        """What is to be kept of `ids`; bytes are decoded."""
        from embcomp.storage.content import span

        names = list(dict.fromkeys(map(_text, ids)))
        parts = sorted(
            {(_hash(file), start, end) for name in names for file, start, end in [span(name)] if file != name}
        )
        return cls(
            np.unique(_hashes(names)),
            np.array([file for file, _, _ in parts], dtype=np.int64),
            np.array([place for _, *place in parts], dtype=np.float64).reshape(-1, 2),
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def among(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that were used, or of which a part was; in the order given."""
        ids = list(ids)
        names = [_text(name) for name in ids]
        exact = np.isin(_hashes(names), self.hashes)
        return [name for name, text, found in zip(ids, names, exact, strict=True) if found or self._overlaps(text)]

    def _overlaps(self, name: str) -> bool:
        """Whether a part of the file that `name` is, or is a part of, was used and shares some of its time."""
        from embcomp.storage.content import GRACE, older_keys, span

        file, start, end = span(name)
        if file != name and self._holds([file, *older_keys(name)]):
            return True
        if not len(self.files):
            return False
        low, high = np.searchsorted(self.files, _hash(file), "left"), np.searchsorted(self.files, _hash(file), "right")
        starts, ends = self.spans[low:high].T
        return bool((np.minimum(ends, end) - np.maximum(starts, start) > GRACE).any())

    def _holds(self, names: list[str]) -> bool:
        return bool(np.isin(_hashes(names), self.hashes).any())


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _hash(name: str) -> int:
    return int(_hashes([name])[0])


def _hashes(names: list[str]) -> np.ndarray:
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in names)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)
