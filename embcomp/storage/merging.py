"""Several stores joined to one in shards: what separate calls of ``embed`` or ``apply`` wrote, by reference or copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.errors import StoreError, counted, why
from embcomp.storage.files import file_hash, new_folder, write_json
from embcomp.storage.outputs import into_results
from embcomp.storage.ownership import strangers
from embcomp.storage.places import is_url, named, url_of
from embcomp.storage.shards import FORMAT, NAMES, is_sharded
from embcomp.storage.store import EmbeddingStore
from embcomp.storage.taught import keep, kept, together
from embcomp.storage.texts import JoinedTexts, Texts, write_lookup, write_texts

PARTS = 256  # of all keys, looked through one at a time for those that are there twice
SHOWN = 5


@into_results
def merge_stores(
    stores: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    copy: bool = False,
    progress: Callable[[int], None] | None = None,
) -> EmbeddingStore:
    """Join stores of different clips to one store in shards.

    Parameters
    ----------
    stores : sequence of path
        In the order that their rows get; stores in shards are joined shard by shard.
    out : path
        Folder to write; it must not exist, or be empty.
    copy : bool, default=False
        Copy the rows, as must be where `out` is a URL. By default they stay where they are, and `out` has the paths to them.
    progress : callable, optional
        Called with the number of rows just done.

    Returns
    -------
    EmbeddingStore

    Raises
    ------
    StoreError
        A store is missing or damaged, two differ in teacher, settings, dimensions or type, an id is in two of them, one, or
        `out`, is remote and rows are not copied, or `out` exists.
    """
    out = Path(out).absolute()
    if out.exists() and not (out.is_dir() and not strangers(out)):
        raise StoreError(f"{out} already exists; choose another --out")
    if not stores:
        raise StoreError("there is no store to join")
    far = [named(path) for path in stores if is_url(named(path))]
    if far and not copy:
        raise StoreError(
            f"{far[0]} is remote, and its copy here may be dropped from the cache; join with --copy (copy=True)"
        )
    if url_of(out) and not copy:
        raise StoreError(
            f"{url_of(out)} is read by other machines, which have no {stores[0]}; join with --copy (copy=True)"
        )
    opened = [EmbeddingStore.open(path) for path in stores]
    for one in opened[1:]:
        _refuse_other(opened[0], one)
    sources = [source for one in opened for source in _shards_of(one)]
    try:
        with new_folder(out) as folder:
            shards = []
            for number, (data, ids, hashes) in enumerate(sources):
                name = f"{number:05d}"
                write_names(folder / name, ids, hashes)
                if copy:
                    shutil.copyfile(data, folder / name / "data.npy")
                place = f"{name}/data.npy" if copy else os.path.relpath(data, out)
                shards.append({"data": place, "names": name, "rows": len(ids), "hash": file_hash(data)})
                if progress is not None:
                    progress(len(ids))
            refuse_twice(folder, [one["names"] for one in shards], [data.parent for data, *_ in sources])
            keep(folder, together(*(kept(one.path) for one in opened)))
            write_index(folder, shards, opened[0].settings, opened[0].data.shape[1], str(opened[0].data.dtype))
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from error
    return EmbeddingStore.open(out)


def write_names(folder: Path, ids: Sequence[str], hashes: Sequence[str]) -> None:
    """Write the ids and hashes of a shard, and what finds ids."""
    folder.mkdir(parents=True, exist_ok=True)
    write_texts(folder / "ids", ids)
    write_texts(folder / "hashes", hashes)
    write_lookup(folder / "lookup.npy", Texts(folder / "ids"))


def copy_names(source: Path, folder: Path) -> None:
    """Copy the same of a shard into the folder of another with these rows.

    Raises
    ------
    StoreError
        They cannot be read, or not written.
    """
    for name in NAMES:
        try:
            shutil.copyfile(source / name, folder / name)
        except OSError as error:
            raise StoreError(f"cannot copy {source / name} to {folder}: {why(error)}") from error


def write_index(folder: Path, shards: list[dict[str, Any]], settings: dict[str, Any], dim: int, dtype: str) -> None:
    """Write the index, which makes the folder a store.

    Parameters
    ----------
    shards : list of dict
        ``data`` and ``names``, paths from `folder` on, and ``rows`` of each.
    """
    content = {
        "format": FORMAT, "complete": True, "dtype": dtype, "rows": sum(one["rows"] for one in shards), "dim": dim,
        "settings": settings, "shards": shards,
    }  # fmt: skip
    write_json(folder / "meta.json", content)


def _shards_of(store: EmbeddingStore) -> Iterator[tuple[Path, Sequence[str], Sequence[str]]]:
    """File of the rows, ids and hashes of each shard; of a plain store there is one."""
    if not is_sharded(store.path):
        yield store.path.absolute() / "data.npy", store.ids, store.hashes
        return
    assert isinstance(store.ids, JoinedTexts) and isinstance(store.hashes, JoinedTexts)
    for path, ids, hashes in zip(store.data.paths, store.ids.parts, store.hashes.parts):
        yield Path(os.path.abspath(path)), ids, hashes


def _refuse_other(first: EmbeddingStore, other: EmbeddingStore) -> None:
    one, two = (
        {**store.settings, "dimensions": store.data.shape[1], "dtype": str(store.data.dtype)}
        for store in (first, other)
    )
    differing = sorted(key for key in {*one, *two} if one.get(key) != two.get(key))
    if differing:
        listing = "; ".join(f"{key}: {one.get(key)!r} and {two.get(key)!r}" for key in differing)
        raise StoreError(f"{first.path} and {other.path} were made differently ({listing}); embed both in the same way")


def refuse_twice(folder: Path, names: list[str], paths: list[Path]) -> None:
    """Refuse an id that is in two shards, or twice in one: by sorted keys, a part of them at a time.

    Parameters
    ----------
    folder : Path
        With a folder for each shard, of these `names`.
    paths : list of Path
        What to call them in the message.

    Raises
    ------
    StoreError
        Names the first ids.
    """
    lookups = [np.load(folder / name / "lookup.npy", mmap_mode="r", allow_pickle=False) for name in names]
    texts = [Texts(folder / name / "ids") for name in names]
    bounds = [np.uint64(part << 56) for part in range(PARTS)]  # by their first byte
    found: list[str] = []
    places = [[*np.searchsorted(keys, bounds).tolist(), len(keys)] for keys, _ in lookups]
    for part in range(PARTS):
        keys, owners, rows = [], [], []
        for number, (sorted_keys, sorted_rows) in enumerate(lookups):
            left, right = places[number][part : part + 2]
            keys.append(sorted_keys[left:right])
            rows.append(sorted_rows[left:right])
            owners.append(np.full(right - left, number))
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")
        every, owner, row = every[order], np.concatenate(owners)[order], np.concatenate(rows)[order]
        for place in np.flatnonzero(every[1:] == every[:-1]).tolist():
            one, two = (texts[int(owner[at])][int(row[at])] for at in (place, place + 1))
            if one == two:
                found.append(f"{one!r} in {paths[int(owner[place])]} and {paths[int(owner[place + 1])]}")
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise StoreError(
            f"{counted(len(found), 'id is', 'ids are')} there twice: {'; '.join(found[:SHOWN])}{more}; leave one of each out"
        )
