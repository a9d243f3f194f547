"""Stores to and from Parquet files, piece by piece, so that neither need fit in memory."""

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
from embcomp.storage.expansion import refuse_parquet
from embcomp.storage.files import file_hash, fingerprint, new_folder
from embcomp.storage.ids import clean_ids
from embcomp.storage.merging import refuse_twice, write_index, write_names
from embcomp.storage.ownership import strangers
from embcomp.storage.parquet import import_pyarrow
from embcomp.storage.publishing import publishing
from embcomp.storage.seen import Seen
from embcomp.storage.store import DTYPES, EmbeddingStore
from embcomp.storage.taught import keep, kept, packed, together, unpacked
from embcomp.storage.vectors import IDS, VECTORS, vector_keys

BLOCK = 1 << 14  # rows at a time
PER_SHARD = 1_000_000
# Among the file's metadata: how the rows were made, as JSON, and which clips taught them.
ABOUT, TAUGHT = b"embcomp", b"embcomp.taught"
MOST_TAUGHT = 48 << 20  # bytes; readers refuse texts in the metadata from 100 MB on, and pyarrow keeps them twice


def export_parquet(
    store: str | os.PathLike, out: str | os.PathLike, progress: Callable[[int], None] | None = None
) -> int:
    """Write a store as a Parquet file with columns ``id``, ``hash`` and ``embedding``, a list of float32; returns its rows.

    Parameters
    ----------
    store : path
    out : path
        ``.parquet``; must not exist.
    progress : callable, optional
        Called with the number of rows just done.

    Raises
    ------
    StoreError
        There is no such store, `out` exists or cannot be written, or too many clips taught the store for a file's metadata.
    MissingDependencyError
        pyarrow is not installed.
    """
    pyarrow = import_pyarrow()
    source, out = EmbeddingStore.open(store), Path(out)
    if os.path.lexists(out):
        raise StoreError(f"{out} already exists; choose another --out")
    width = source.data.shape[1]
    metadata = {ABOUT: json.dumps({"settings": source.settings, "dtype": str(source.data.dtype)})}
    seen = kept(source.path)
    if seen is not None:
        metadata[TAUGHT] = base64.b64encode(packed(seen))
        if len(metadata[TAUGHT]) > MOST_TAUGHT:
            raise StoreError(
                f"{store} was taught by {counted(len(seen.hashes), 'clip')}, more than the metadata of a Parquet file hold; "
                "copy the store's folder instead"
            )
    schema = pyarrow.schema(
        [("id", pyarrow.string()), ("hash", pyarrow.string()), ("embedding", pyarrow.list_(pyarrow.float32(), width))],
        metadata=metadata,
    )
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
            for start in range(0, len(source), BLOCK):
                block = np.asarray(source.data[start : start + BLOCK], dtype=np.float32)
                vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), width)
                names = [pyarrow.array(kind[start : start + BLOCK]) for kind in (source.ids, source.hashes)]
                writer.write_table(pyarrow.Table.from_arrays([*names, vectors], schema=schema))
                if progress is not None:
                    progress(len(block))
        with publishing(out):
            os.replace(temporary, out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return len(source)


def import_parquet(
    files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    dtype: str | None = None,
    per_shard: int = PER_SHARD,
    progress: Callable[[int], None] | None = None,
) -> EmbeddingStore:
    """Write Parquet files as a store in shards.

    Parameters
    ----------
    files : sequence of path
        With a column of ids and a column of vectors, lists of one width, named as `embcomp.storage.vectors.open_vectors`
        takes them; one of hashes may be there.
    out : path
        Folder to write; must not exist, or be empty.
    dtype : {"float32", "float16"}, optional
        Of the stored numbers; by default what `export_parquet` noted, else float32.
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
        pyarrow is not installed.
    """
    out = Path(out).absolute()
    if out.exists() and not (out.is_dir() and not strangers(out)):
        raise StoreError(f"{out} already exists; choose another --out")
    tables = [_Table(Path(file)) for file in files]
    if not tables:
        raise StoreError("there is no Parquet file to import")
    first = tables[0]
    for one in tables[1:]:
        if (one.width, one.about) != (first.width, first.about):
            raise StoreError(f"{one.path} and {first.path} differ in width, or in how they were made")
    dtype = dtype or first.about.get("dtype", "float32")
    settings = first.about.get("settings") or {"vectors": fingerprint([file_hash(one.path) for one in tables])}
    shards: list[dict[str, Any]] = []
    try:
        with new_folder(out) as folder:
            blocks = _Blocks(block for one in tables for block in one.blocks())
            total = sum(one.file.metadata.num_rows for one in tables)
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


Block = tuple[list[str], list[str], np.ndarray]


class _Table:
    """A Parquet file with ids and vectors."""

    def __init__(self, path: Path):
        pyarrow = import_pyarrow()
        self.path = path
        if not path.is_file():  # a pipe has no end
            raise StoreError(f"cannot read {path}: no such file")
        try:
            refuse_parquet(path, pyarrow.parquet.read_metadata(path))
            self.file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise StoreError(f"cannot read {path}: {error}") from None
        schema = self.file.schema_arrow
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
        self.taught = self._taught(schema.metadata or {})
        head = next(self.file.iter_batches(1, columns=[self.vectors]), None)
        self.width = len(head.column(0)[0].as_py() or ()) if head is not None and len(head) else 0

    def _noted(self, metadata: dict[bytes, bytes]) -> dict[str, Any]:
        try:
            about = json.loads(metadata.get(ABOUT, b"{}"))
            fits = isinstance(about, dict) and isinstance(about.get("settings", {}), dict)
        except ValueError:
            fits = False
        if not fits or about.get("dtype", "float32") not in DTYPES:
            raise StoreError(f"{self.path} says in its metadata that it is of embcomp, and is not")
        return about

    def _taught(self, metadata: dict[bytes, bytes]) -> Seen | None:
        if TAUGHT not in metadata:
            return None
        try:
            return unpacked(base64.b64decode(metadata[TAUGHT], validate=True))
        except ValueError as error:
            raise StoreError(
                f"{self.path} does not say which clips taught its vectors ({error}); export it again"
            ) from None

    def blocks(self) -> Iterator[Block]:
        pyarrow = import_pyarrow()
        columns = [self.ids, self.vectors, *([self.hashes] if self.hashes else [])]
        try:
            for batch in self.file.iter_batches(BLOCK, columns=columns):
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
    with PartialRows(folder, {"rows": count, "dim": width, "dtype": dtype}) as rows_there:
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
