"""Compress a store in shards, shard by shard; several processes, also of several machines, share them out among them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.compression.compressor import Compressor
from embcomp.compression.spread_rows import means
from embcomp.errors import ArtifactError, BusyError, StoreError, why
from embcomp.storage.arrays import PartialRows, WriterLock, checked_rows
from embcomp.storage.artifact import WEIGHTS
from embcomp.storage.files import file_hash, fingerprint, read_json, write_json
from embcomp.storage.finishing import give_name
from embcomp.storage.merging import copy_names, write_index
from embcomp.storage.ownership import strangers
from embcomp.storage.seen import Seen
from embcomp.storage.store import REMAINS, EmbeddingStore, check_settings, tidy
from embcomp.storage.taught import keep

ALIGNED = 4096  # rows multiplied at once, counted from the first of all: as where they lie in one store
WRITTEN = 16 * ALIGNED
PAUSE = 0.5  # seconds between two looks at what other processes still write
PLAN = "plan.json"


def apply_shards(
    compressor: Compressor,
    source: EmbeddingStore,
    out: str | os.PathLike[str],
    settings: dict[str, Any],
    dtype: str,
    taught: Seen | None = None,
    crew: Any = None,
    saved: str | os.PathLike[str] = "",
) -> EmbeddingStore:
    """Compress every shard of a store into a store of as many shards.

    Shards that another process is writing are left to it; the last process to end puts them together, and all return
    the same store. A shard whose process died is gone on with by another.

    Parameters
    ----------
    compressor : Compressor
    source : EmbeddingStore
        In shards.
    out : path
    settings : dict
        Of the store that is written.
    dtype : {"float32", "float16"}
    taught : Seen, optional
        Clips that the teacher and the compressor were learned from.
    crew : object, optional
        An engine in its ``with`` block, whose workers take a shard each; by default this process takes one after the other.
    saved : path
        Where the compressor is saved, for them.

    Raises
    ------
    StoreError
        Another store, or something else, is at `out`; or the disk is full. Finished rows stay for the next call.
    """
    out = Path(out).absolute()
    work = out.with_name(f".{out.name}.shards")
    parts = source.ids.parts  # type: ignore[attr-defined]
    plan = {
        "settings": json.loads(json.dumps(settings)),
        "dim": compressor.n_components_,
        "dtype": dtype,
        "rows": [len(part) for part in parts],
        "source": fingerprint([one.get("hash", "") for one in read_json(source.path / "meta.json")["shards"]]),
    }
    if (found := _finished(out, plan)) is not None:
        tidy(out)
        return found
    _begin(work, plan)
    todo = list(range(len(parts)))
    if crew is not None:
        job = {
            "compressor": str(Path(saved).absolute()),
            "source": str(source.path.absolute()),
            "work": str(work),
            "plan": plan,
        }
        left = [number for number in todo if not (work / f"{number:05d}").is_dir()]
        for _ in crew.map(compress_shard, [{**job, "number": number} for number in left]):
            pass  # what another process writes is waited for below
    while True:
        for number in list(todo):
            try:
                _shard(compressor, source, work, plan, number)
                todo.remove(number)
            except BusyError:
                continue
            except _Ended:
                break
        if (found := _finished(out, plan)) is not None:
            return found
        if not todo:
            try:
                _put_together(work, out, plan, taught)
                continue
            except BusyError:
                pass  # another does
        time.sleep(PAUSE)


def compress_shard(compressor: str, source: str, work: str, plan: dict[str, Any], number: int) -> None:
    """Compress one shard of a store, if no other process does.

    Parameters
    ----------
    compressor, source : str
        Their folders.
    work : str
        Folder of the shards in writing.
    plan : dict
        Of all shards.
    number : int
        Of the shard.

    Raises
    ------
    ArtifactError, StoreError
        The compressor or the store was changed, or the shard cannot be written.
    """
    if file_hash(Path(compressor, WEIGHTS)) != plan["settings"]["compressor"]:
        raise ArtifactError(f"{compressor} was changed while it was used; run again")
    with contextlib.suppress(BusyError, _Ended):
        _shard(Compressor.load(compressor), EmbeddingStore.open(source), Path(work), plan, number)


class _Ended(Exception):
    """Another process has put the shards together."""


def _finished(out: Path, plan: dict[str, Any]) -> EmbeddingStore | None:
    """The store at `out`, which must be what is to be made."""
    if not out.exists() or (out.is_dir() and not strangers(out)):
        return None
    store = EmbeddingStore.open(out)
    found = {**store.settings, "dim": store.data.shape[1], "dtype": str(store.data.dtype), "rows": len(store)}
    check_settings(
        out, found, {**plan["settings"], "dim": plan["dim"], "dtype": plan["dtype"], "rows": sum(plan["rows"])}
    )
    return store


def _begin(work: Path, plan: dict[str, Any]) -> None:
    """Make the folder of the shards, or see that it is of the same plan."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        if not (work / PLAN).exists():
            if others := [name for name in strangers(work) if not name.startswith(".")]:
                raise StoreError(f"{work} holds {others[0]}, no shards in writing; choose another --out")
            write_json(work / PLAN, plan)
    except OSError as error:
        raise StoreError(f"cannot write {work}: {why(error)}") from error
    if read_json(work / PLAN) != plan:
        raise StoreError(f"{work} has unfinished shards of other settings or of another store; choose another --out")


def _shard(compressor: Compressor, source: EmbeddingStore, work: Path, plan: dict[str, Any], number: int) -> None:
    target = work / f"{number:05d}"
    if target.is_dir():
        return
    with WriterLock(target):
        if target.is_dir():
            return
        if not (work / PLAN).exists():
            raise _Ended
        count, first = plan["rows"][number], sum(plan["rows"][:number])
        partial = work / f".{target.name}.partial"
        about = {**plan, "rows": count, "number": number}
        with PartialRows(partial, about) as rows_there:
            left = np.flatnonzero(rows_there.done == 0)
            for start in range(0, len(left), WRITTEN):
                rows = left[start : start + WRITTEN]
                values = _compressed(compressor, source, first + int(rows[0]), first + int(rows[-1]) + 1)
                values = values[rows - rows[0]]
                rows_there.write(rows, checked_rows(values, first + rows, plan["dim"], plan["dtype"], source.ids))
        copy_names(source.ids.parts[number].path.parent, partial)  # type: ignore[attr-defined]
        give_name(partial, target, REMAINS, upload=False)


def _compressed(compressor: Compressor, source: EmbeddingStore, start: int, stop: int) -> np.ndarray:
    """Targets of the rows from `start` to `stop`."""
    found = []
    for first in range(start // ALIGNED * ALIGNED, stop, ALIGNED):
        rows = np.asarray(source.data[first : first + ALIGNED], dtype=np.float32)
        found.append(compressor.transform(means(rows, source.frames))[max(0, start - first) : stop - first])
    return np.concatenate(found)


def _put_together(work: Path, out: Path, plan: dict[str, Any], taught: Seen | None) -> None:
    with WriterLock(out):
        if not (work / PLAN).exists():
            return
        shards = []
        for number, count in enumerate(plan["rows"]):
            name = f"{number:05d}"
            with WriterLock(work / name):  # busy while its writer is not quite done
                for left in REMAINS:
                    (work / name / left).unlink(missing_ok=True)
            shards.append(
                {"data": f"{name}/data.npy", "names": name, "rows": count, "hash": file_hash(work / name / "data.npy")}
            )
        keep(work, taught)
        write_index(work, shards, plan["settings"], plan["dim"], plan["dtype"])
        give_name(work, out, [PLAN])
