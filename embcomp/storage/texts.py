"""Many texts in two files, read when they are asked for: ids and hashes of a hundred million rows without a list of them."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from embcomp.errors import StoreError
from embcomp.storage.arrays import open_array
from embcomp.storage.files import check_regular

BLOCK = 1 << 16  # texts read or written at once


class Texts(Sequence[str]):
    """Texts one after the other, shape ``(n,)``, in ``NAME.bin`` as UTF-8 and ``NAME.npy`` with where each ends.

    Attributes
    ----------
    in_blocks : bool
        True: whoever takes a list takes these as they are, and reads them piece by piece.

    Raises
    ------
    StoreError
        The files do not fit together.
    """

    in_blocks = True

    def __init__(self, path: Path):
        self.path = path
        self._ends = open_array(path.with_suffix(".npy"))
        content = path.with_suffix(".bin")
        check_regular(content)
        size = content.stat().st_size
        if (
            self._ends.ndim != 1
            or self._ends.dtype != np.int64
            or (int(self._ends[-1]) if len(self._ends) else 0) != size
        ):
            raise StoreError(f"{path}.bin and {path}.npy do not fit together; make the store again")
        # Read and not mapped: pages of a map would count as this process's memory.
        self._file = open(content, "rb", buffering=0)  # noqa: SIM115, closed with the object

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> list[str]: ...

    def __getitem__(self, key):
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return self._between(start, stop)[::step] if step > 0 else self.take(np.arange(start, stop, step))
        row = range(len(self))[key]
        return self._between(row, row + 1)[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self._between(start, min(start + BLOCK, len(self)))

    def take(self, rows: np.ndarray) -> list[str]:
        """The texts of `rows`, int64 (k,)."""
        return [self[int(row)] for row in rows]

    def _between(self, start: int, stop: int) -> list[str]:
        if stop <= start:
            return []
        ends = self._ends[start:stop].tolist()
        first = int(self._ends[start - 1]) if start else 0
        places = [first, *ends]
        if not 0 <= first <= ends[-1] or places != sorted(places):
            raise StoreError(f"{self.path}.npy is damaged, its ends do not rise; make the store again")
        self._file.seek(first)
        content = self._file.read(ends[-1] - first)
        try:
            return [content[a - first : b - first].decode() for a, b in zip(places, ends)]
        except UnicodeDecodeError as error:
            raise StoreError(f"{self.path}.bin is damaged ({error}); make the store again") from None


class JoinedTexts(Sequence[str]):
    """Several sequences of texts as one, shape ``(n,)``.

    Parameters
    ----------
    parts : sequence of Texts
    """

    in_blocks = True

    def __init__(self, parts: Sequence[Texts]):
        self.parts = list(parts)
        self._starts = np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> list[str]: ...

    def __getitem__(self, key):
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step < 0:
                return self[stop + 1 : start + 1][::-1][::-step]
            found: list[str] = []
            for part, first in zip(self.parts, self._starts):
                found += part[max(0, start - int(first)) : max(0, stop - int(first))]
            return found[::step]
        row = range(len(self))[key]
        place = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.parts[place][row - int(self._starts[place])]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.parts)


def write_texts(path: Path, texts: Iterable[str]) -> int:
    """Write texts as `Texts` reads them; returns how many.

    Parameters
    ----------
    path : Path
        Without an ending.
    texts : iterable of str
        Read once, in blocks.
    """
    ends: list[np.ndarray] = []
    place, source = 0, iter(texts)
    with open(path.with_suffix(".bin"), "wb") as file:
        while block := [text.encode() for text in itertools.islice(source, BLOCK)]:
            file.write(b"".join(block))
            sizes = np.cumsum(np.fromiter(map(len, block), dtype=np.int64, count=len(block))) + place
            ends.append(sizes)
            place = int(sizes[-1])
    np.save(path.with_suffix(".npy"), np.concatenate(ends) if ends else np.zeros(0, dtype=np.int64))
    return sum(map(len, ends))


def text_key(text: str) -> int:
    """A number of 64 bits for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Lookup:
    """From texts to their rows, by sorted keys on disk: 16 bytes a row, of which a look-up reads a few.

    Parameters
    ----------
    path : path
        Of an array uint64 (2, n): keys, rising, and the row of each.
    texts : Texts
        What the keys are of; compared, since two texts may share a key.

    Raises
    ------
    StoreError
        The file does not fit the texts.
    """

    def __init__(self, path: str | os.PathLike, texts: Texts):
        self.path, self.texts = path, texts
        table: Any = open_array(path)
        if table.shape != (2, len(texts)) or table.dtype != np.uint64:
            raise StoreError(f"{path} does not fit the {len(texts)} ids beside it; make the store again")
        self.keys, self.rows = table

    def find(self, asked: Sequence[str], keys: np.ndarray) -> np.ndarray:
        """Rows of texts, int64 (k,); -1 where there is none.

        Parameters
        ----------
        keys : ndarray of uint64 (k,)
            From `text_keys`.
        """
        found = np.full(len(asked), -1, dtype=np.int64)
        places = np.searchsorted(self.keys, keys)
        for number, place in enumerate(places.tolist()):
            while place < len(self.keys) and self.keys[place] == keys[number]:
                row = int(self.rows[place])
                if row >= len(self.texts):
                    raise StoreError(
                        f"{self.path} is damaged, it names row {row} of {len(self.texts)}; make the store again"
                    )
                if self.texts[row] == asked[number]:
                    found[number] = row
                    break
                place += 1
        return found


def text_keys(texts: Iterable[str]) -> np.ndarray:
    """`text_key` of each, uint64 (n,)."""
    return np.fromiter(map(text_key, texts), dtype=np.uint64)


def write_lookup(
    path: Path, texts: Iterable[str], key: Callable[[Iterable[str]], np.ndarray] = text_keys
) -> np.ndarray:
    """Write what `Lookup` reads; returns the sorted keys."""
    keys = key(texts)
    order = np.argsort(keys, kind="stable")
    table = np.stack([keys[order], order.astype(np.uint64)])
    np.save(path, table)
    return table[0]
