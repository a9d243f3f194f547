"""Which clips a compressor was fitted on, or a teacher learned from, without keeping their names."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embcomp.storage.content import GRACE, older_keys, span

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 16  # names held at once
ENDLESS = 1e300  # seconds; weights hold no infinity


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
        found: list[np.ndarray] = []
        spans: set[tuple[int, float, float]] = set()
        source = iter(ids)
        while names := list(map(_text, itertools.islice(source, BLOCK))):
            spans |= {(_hash(file), start, end) for name in names for file, start, end in [span(name)] if file != name}
            found.append(_hashes(names))
        parts = sorted(spans)
        return cls(
            np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64),
            np.array([file for file, _, _ in parts], dtype=np.int64),
            np.array([place for _, *place in parts], dtype=np.float64).reshape(-1, 2),
        )

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Seen | None:
        """What an artifact kept among its weights, see `tensors_of`; None where it kept nothing."""
        import torch

        if "seen" not in tensors:
            return None
        files = tensors.get("seen_files", torch.empty(0, dtype=torch.int64))
        spans = tensors.get("seen_spans", torch.empty((0, 2), dtype=torch.float64))
        return cls(tensors["seen"].numpy(), files.numpy(), spans.numpy())

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


def tensors_of(seen: Seen | None) -> dict[str, torch.Tensor]:
    """What an artifact keeps beside its weights: 8 bytes a clip, and 24 more for each part of a file."""
    import torch

    if seen is None:
        return {}
    tensors = {"seen": torch.from_numpy(seen.hashes)}
    if len(seen.files):
        tensors["seen_files"] = torch.from_numpy(seen.files)
        tensors["seen_spans"] = torch.from_numpy(np.nan_to_num(seen.spans, posinf=ENDLESS))
    return tensors


def counts_of(seen: Seen | None) -> dict[str, int | None]:
    """What the config of an artifact says of `tensors_of`."""
    return {"n_seen": None if seen is None else len(seen), "n_parts_seen": 0 if seen is None else len(seen.files)}


def tensors_expected(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Names and shapes of the tensors that a config promises, without content.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        A count is none.
    """
    import torch

    # Artifacts of before these were kept have neither, or not the second.
    clips, parts = config.get("n_seen"), config.get("n_parts_seen", 0)
    tensors = {}
    if clips is not None:
        tensors["seen"] = torch.empty(clips, dtype=torch.int64, device="meta")
    if parts:
        tensors["seen_files"] = torch.empty(parts, dtype=torch.int64, device="meta")
        tensors["seen_spans"] = torch.empty((parts, 2), dtype=torch.float64, device="meta")
    return tensors


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _hash(name: str) -> int:
    return int(_hashes([name])[0])


def _hashes(names: list[str]) -> np.ndarray:
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in names)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)
