"""Rows of one store compressed by several workers: batches are those of one process, and this one writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.compression.compressor import Compressor
from embcomp.errors import ArtifactError
from embcomp.storage.artifact import WEIGHTS
from embcomp.storage.chunks import chunk_folder, clear, take_chunk, write_chunk
from embcomp.storage.files import file_hash
from embcomp.storage.shards import place_of, rows_at
from embcomp.storage.store import EmbeddingStore

BATCHES = 8  # of a job at most: what is lost where a worker dies
SHARES = 4  # jobs for each worker at least

Made = Callable[[list[np.ndarray]], Iterator[tuple[np.ndarray, np.ndarray]]]


def spread_rows(
    crew: Any, compressor: str | os.PathLike[str], source: EmbeddingStore, out: str | os.PathLike[str]
) -> Made | None:
    """What makes the rows of a store of targets, for `embcomp.storage.store.write_store`; None where vectors are in memory.

    Parameters
    ----------
    crew : object
        An engine, in its ``with`` block.
    compressor : path
        Saved.
    source : EmbeddingStore
        Not in shards.
    out : path
        The store that is written.
    """
    place = place_of(source.data)
    if place is None:
        return None
    folder_of = Path(compressor).absolute()
    same = {
        "compressor": str(folder_of),
        "weights": file_hash(folder_of / WEIGHTS),
        "place": place,
        "frames": source.frames,
    }

    def made(batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        folder = chunk_folder(Path(out).absolute())
        size = max(1, min(BATCHES, -(-len(batches) // (SHARES * max(1, crew.workers)))))
        groups = [batches[start : start + size] for start in range(0, len(batches), size)]
        files = [folder / f"chunk-{number}.npy" for number in range(len(groups))]
        jobs = [
            {**same, "batches": [_packed(batch) for batch in group], "out": str(file)}
            for group, file in zip(groups, files, strict=True)
        ]
        try:
            for number, _ in crew.map(compress_rows, jobs):
                yield np.concatenate(groups[number]), take_chunk(files[number])
        finally:
            clear(folder)

    return made


def _packed(rows: np.ndarray) -> list[int] | dict[str, int]:
    """Row numbers in JSON; of neighbours the first and the end."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    return {"start": start, "stop": stop} if stop - start == len(rows) else rows.tolist()


def compress_rows(
    compressor: str, weights: str, place: dict[str, Any], frames: int, batches: list[Any], out: str
) -> None:
    """Compress rows, batch by batch, and write their targets (n, d) into the file `out`.

    Parameters
    ----------
    compressor : str
        Its folder.
    weights : str
        Hash that its weights must have.
    place : dict
        Of the rows, from `embcomp.storage.shards.place_of`.
    frames : int
        Vectors in a row, of which the mean is taken.
    batches : list
        Row numbers of each, as ``{"start": ..., "stop": ...}`` or a list.

    Raises
    ------
    ArtifactError
        The compressor was changed.
    StoreError
        The rows are not there or were changed, or `out` cannot be written.
    """
    if file_hash(Path(compressor, WEIGHTS)) != weights:
        raise ArtifactError(f"{compressor} was changed while it was used; run again")
    model, data = Compressor.load(compressor), rows_at(place)
    found = []
    for batch in batches:
        rows = data[batch["start"] : batch["stop"]] if isinstance(batch, dict) else data[np.array(batch)]
        found.append(model.transform(means(np.asarray(rows, dtype=np.float32), frames)))
    write_chunk(out, np.concatenate(found))


def means(rows: np.ndarray, frames: int) -> np.ndarray:
    """Of rows that hold several vectors, (n, frames * dim), the mean of each, (n, dim)."""
    return rows if frames == 1 else rows.reshape(len(rows), frames, -1).mean(1)
