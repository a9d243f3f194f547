"""Tables of ids and vectors that other programs write, read block by block; Parquet files are one kind of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.errors import StoreError
from embcomp.storage.expansion import refuse_parquet
from embcomp.storage.files import file_hash
from embcomp.storage.ids import clean_ids
from embcomp.storage.parquet import import_pyarrow
from embcomp.storage.store import DTYPES
from embcomp.storage.taught import noted
from embcomp.storage.vectors import IDS, VECTORS, vector_keys

BLOCK = 1 << 14  # rows at a time
MOST_WIDTH = 1 << 20  # values of a row
ABOUT = b"embcomp"  # among the table's metadata: how the rows were made, as JSON

Block = tuple[list[str], list[str], np.ndarray]


class Table:
    """A table with ids and vectors.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema

    Attributes
    ----------
    width : int
        Values of a vector.
    about : dict
        How the vectors were made, where the table is an export of a store.
    taught : Seen or None
        Clips that they were learned from.

    Raises
    ------
    StoreError
        It has no column of ids or none of vectors, or damaged metadata.
    """

    def __init__(self, path: Path, schema: Any):
        pyarrow = import_pyarrow()
        self.path = path
        known = {name.lower(): name for name in schema.names}
        lists = [name for name in schema.names if pyarrow.types.is_list(schema.field(name).type)
                 or pyarrow.types.is_fixed_size_list(schema.field(name).type)]  # fmt: skip
        vectors = [known[name] for name in VECTORS if known.get(name) in lists] or lists
        ids = [known[name] for name in IDS if name in known]
        if not vectors or not ids:
            raise StoreError(
                f"{path} needs a column of ids and one of lists of numbers; it has {', '.join(schema.names[:8])}"
            )
        self.vectors, self.ids, self.hashes = vectors[0], ids[0], known.get("hash")
        self.about = self._noted(schema.metadata or {})
        self.taught = noted(schema.metadata or {}, path)
        self.width = self._width(schema.field(self.vectors).type)

    def __len__(self) -> int:
        raise NotImplementedError

    def key(self) -> Any:
        """A key of its content."""
        raise NotImplementedError

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of at most so many rows, in order."""
        raise NotImplementedError

    def _width(self, kind: Any) -> int:
        width = getattr(kind, "list_size", 0)
        if not width:
            head = next(self.batches(1, [self.vectors]), None)
            width = len(head.column(0)[0].as_py() or ()) if head is not None and len(head) else 0
        if width > MOST_WIDTH:
            raise StoreError(
                f"{self.path}: vectors of {self.vectors!r} have {width:,} values, more than {MOST_WIDTH:,}"
            )
        return width

    def _noted(self, metadata: dict[bytes, bytes]) -> dict[str, Any]:
        try:
            about = json.loads(metadata.get(ABOUT, b"{}"))
            fits = isinstance(about, dict) and isinstance(about.get("settings", {}), dict)
        except ValueError:
            fits = False
        if not fits or about.get("dtype", "float32") not in DTYPES:
            raise StoreError(f"{self.path} says in its metadata that it is of embcomp, and is not")
        return about

    def blocks(self) -> Iterator[Block]:
        """Ids, hashes and vectors (k, width), in order.

        Raises
        ------
        StoreError
            An id is missing, vectors differ in width or are no numbers, or the table cannot be read.
        """
        pyarrow = import_pyarrow()
        columns = [self.ids, self.vectors, *([self.hashes] if self.hashes else [])]
        rows = max(1, min(BLOCK, (BLOCK << 11) // max(1, self.width)))
        try:
            for batch in self.batches(rows, columns):
                ids = clean_ids(batch.column(self.ids).to_pylist(), str(self.path))
                column = batch.column(self.vectors)
                values = column.flatten().to_numpy(zero_copy_only=False)
                if column.null_count or values.dtype.kind not in "fiu" or len(values) != len(ids) * self.width:
                    raise StoreError(
                        f"{self.path}: the vectors of {self.vectors!r} are missing, differ in width, or are no numbers"
                    )
                vectors = values.reshape(len(ids), self.width)
                hashes = (
                    [str(one) for one in batch.column(self.hashes).to_pylist()] if self.hashes else vector_keys(vectors)
                )
                yield ids, hashes, vectors
        except (pyarrow.ArrowException, OSError) as error:
            raise StoreError(f"cannot read {self.path}: {error}") from None


class ParquetTable(Table):
    """A Parquet file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreError
        It is missing, damaged, or no table of vectors.
    """

    def __init__(self, path: Path):
        pyarrow = import_pyarrow()
        if not path.is_file():  # a pipe has no end
            raise StoreError(f"cannot read {path}: no such file")
        try:
            refuse_parquet(path, pyarrow.parquet.read_metadata(path))
            self.file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise StoreError(f"cannot read {path}: {error}") from None
        super().__init__(path, self.file.schema_arrow)

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def key(self) -> str:
        """A key of its content."""
        return file_hash(self.path)

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of at most so many rows, in order."""
        return self.file.iter_batches(rows, columns=list(columns))
