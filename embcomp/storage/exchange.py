"""Stores to and from Parquet files and Lance tables, piece by piece, so that neither need fit in memory."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.errors import StoreError, counted, why
from embcomp.storage.arrays import PartialRows, checked_rows
from embcomp.storage.bringing import brought
from embcomp.storage.files import file_hash, fingerprint, new_folder
from embcomp.storage.lance import SUFFIX, LanceTable, is_lance, write_lance
from embcomp.storage.merging import refuse_twice, write_index, write_names
from embcomp.storage.outputs import begun, into_results
from embcomp.storage.ownership import strangers
from embcomp.storage.parquet import import_pyarrow
from embcomp.storage.publishing import publishing
from embcomp.storage.store import EmbeddingStore
from embcomp.storage.tables import ABOUT, BLOCK, Block, ParquetTable, Table
from embcomp.storage.taught import ENTRY, keep, kept, packed, together

PER_SHARD = 1_000_000
MOST_TAUGHT = 48 << 20  # bytes; readers refuse texts in the metadata from 100 MB on, and pyarrow keeps them twice


def export_store(
    store: str | os.PathLike, out: str | os.PathLike, progress: Callable[[int], None] | None = None
) -> int:
    """Write a store as a table with columns ``id``, ``hash`` and ``embedding``, a list of float32; returns its rows.

    Parameters
    ----------
    store : path
    out : path
        ``NAME.lance``, a Lance table, or else a Parquet file; must not exist.
    progress : callable, optional
        Called with the number of rows just done.

    Raises
    ------
    StoreError
        There is no such store, `out` exists or cannot be written, or too many clips taught the store for a table's metadata.
    MissingDependencyError
        pyarrow, or for Lance tables pylance, is not installed.
    """
    pyarrow = import_pyarrow()
    source, out = EmbeddingStore.open(store), begun(out)
    if os.path.lexists(out):
        raise StoreError(f"{out} already exists; choose another --out")
    width = source.data.shape[1]
    metadata = {ABOUT: json.dumps({"settings": source.settings, "dtype": str(source.data.dtype)})}
    seen = kept(source.path)
    if seen is not None:
        metadata[ENTRY] = base64.b64encode(packed(seen))
        if len(metadata[ENTRY]) > MOST_TAUGHT:
            raise StoreError(
                f"{store} was taught by {counted(len(seen.hashes), 'clip')}, more than the metadata of a table hold; "
                "copy the store's folder instead"
            )
    schema = pyarrow.schema(
        [("id", pyarrow.string()), ("hash", pyarrow.string()), ("embedding", pyarrow.list_(pyarrow.float32(), width))],
        metadata=metadata,
    )
    write = write_lance if out.suffix.lower() == SUFFIX else _write_parquet
    write(out, schema, _batches(source, schema, progress or (lambda count: None)))
    return len(source)


def _batches(source: EmbeddingStore, schema: Any, progress: Callable[[int], None]) -> Iterator[Any]:
    pyarrow = import_pyarrow()
    for start in range(0, len(source), BLOCK):
        block = np.asarray(source.data[start : start + BLOCK], dtype=np.float32)
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), source.data.shape[1])
        names = [pyarrow.array(kind[start : start + BLOCK]) for kind in (source.ids, source.hashes)]
        yield pyarrow.RecordBatch.from_arrays([*names, vectors], schema=schema)
        progress(len(block))


def _write_parquet(out: Path, schema: Any, batches: Iterator[Any]) -> None:
    pyarrow = import_pyarrow()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        with publishing(out):
            os.replace(temporary, out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


@into_results
def import_tables(
    files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    dtype: str | None = None,
    per_shard: int = PER_SHARD,
    progress: Callable[[int], None] | None = None,
) -> EmbeddingStore:
    """Write Parquet files or Lance tables as a store in shards.

    Parameters
    ----------
    files : sequence of path
        With a column of ids and a column of vectors, lists of one width, named as `embcomp.storage.vectors.open_vectors`
        takes them; one of hashes may be there.
    out : path
        Folder to write; must not exist, or be empty.
    dtype : {"float32", "float16"}, optional
        Of the stored numbers; by default what `export_store` noted, else float32.
    per_shard : int, default=1,000,000
        Rows of a shard.
    progress : callable, optional
        Called with the number of rows just done.

    Raises
    ------
    StoreError
        A file is no such table, files differ in width or in how they were made, an id is there twice, or `out` exists.
    DataError
        A vector has NaN or infinity.
    MissingDependencyError
        pyarrow, or for Lance tables pylance, is not installed.
    """
    out = Path(out).absolute()
    if out.exists() and not (out.is_dir() and not strangers(out)):
        raise StoreError(f"{out} already exists; choose another --out")
    tables = [_opened(brought(file)) for file in files]
    if not tables:
        raise StoreError("there is no table to import")
    first = tables[0]
    for one in tables[1:]:
        if (one.width, one.about) != (first.width, first.about):
            raise StoreError(f"{one.path} and {first.path} differ in width, or in how they were made")
    dtype = dtype or first.about.get("dtype", "float32")
    settings = first.about.get("settings") or {"vectors": fingerprint([one.key() for one in tables])}
    shards: list[dict[str, Any]] = []
    try:
        with new_folder(out) as folder:
            blocks = _Blocks(block for one in tables for block in one.blocks())
            total = sum(map(len, tables))
            for number, start in enumerate(range(0, total, per_shard)):
                name = f"{number:05d}"
                count = min(per_shard, total - start)
                shards.append(
                    _write_shard(folder / name, blocks, count, first.width, dtype, progress) | {"names": name}
                )
            if not shards:
                raise StoreError(f"{first.path} has no rows")
            refuse_twice(folder, [one["names"] for one in shards], [first.path.parent] * len(shards))
            write_index(folder, shards, settings, first.width, dtype)
            keep(folder, together(*(one.taught for one in tables)))
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from error
    return EmbeddingStore.open(out)


def _opened(path: Path) -> Table:
    return LanceTable(path) if is_lance(path) else ParquetTable(path)


class _Blocks:
    """Blocks one after the other, of which no more is taken than asked for."""

    def __init__(self, blocks: Iterator[Block]):
        self.blocks = blocks
        self.left: Block = ([], [], np.empty((0, 0)))

    def next(self, most: int) -> Block:
        """At least one row and at most so many."""
        while not self.left[0]:
            self.left = next(self.blocks)
        ids, hashes, vectors = self.left
        self.left = ids[most:], hashes[most:], vectors[most:]
        return ids[:most], hashes[:most], vectors[:most]


def _write_shard(
    folder: Path, blocks: _Blocks, count: int, width: int, dtype: str, progress: Callable[[int], None] | None
) -> dict[str, Any]:
    ids: list[str] = []
    hashes: list[str] = []
    with PartialRows(folder, {"rows": count, "dim": width, "dtype": dtype}, kept=False) as rows_there:
        while len(ids) < count:
            names, keys, vectors = blocks.next(count - len(ids))
            rows = np.arange(len(ids), len(ids) + len(names))
            ids += names
            hashes += keys
            rows_there.write(rows, checked_rows(vectors, np.arange(len(names)), width, dtype, names))
            if progress is not None:
                progress(len(names))
    for name in ("done.npy", "plan.json"):
        (folder / name).unlink()
    write_names(folder, ids, hashes)
    return {"data": f"{folder.name}/data.npy", "rows": count, "hash": file_hash(folder / "data.npy")}
