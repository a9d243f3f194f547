"""A join of teachers from their stores: fitted to some clips, and written for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embcomp.audio.clips import Clips
from embcomp.config.several import JOIN
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError
from embcomp.storage.files import fingerprint
from embcomp.storage.seen import Seen
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.embedding import embed, learned_teacher, open_teacher
from embcomp.teachers.joined import Blocks, JoinedTeacher, check_member, joined_fingerprint, read_join
from embcomp.teachers.spread import Spread, on_cpu


def fit_blocks(stores: Sequence[EmbeddingStore], ids: Sequence[str], specs: Sequence[str]) -> Blocks:
    """How the teachers behind `stores` are scaled, by the clips `ids` alone.

    Raises
    ------
    TeacherError
        A store has several vectors per clip.
    DataError
        A teacher gives the same vector for every clip.
    """
    for store, spec in zip(stores, specs):
        check_member(spec, store.frames, store.dim, store.dim)
    return Blocks.fit([store.take(ids) for store in stores], specs)


def write_joined(
    path: str | os.PathLike,
    stores: Sequence[EmbeddingStore],
    ids: Sequence[str],
    hashes: Sequence[str],
    blocks: Blocks,
    dtype: str = "float32",
) -> EmbeddingStore:
    """The store of a join, from the stores of its members; the same that `embed` writes with the joined teacher."""
    weights = [store.settings["weights"] for store in stores]
    settings: dict[str, Any] = {
        "teacher": JOIN.join(store.settings["teacher"] for store in stores),
        "weights": joined_fingerprint(weights, blocks),
        # Of a view, each of them says so.
        **({"view": stores[0].settings["view"]} if "view" in stores[0].settings else {}),
        "members": [store.settings | {"dim": store.dim} for store in stores],
    }

    def joined(rows):
        return blocks.join([store.take([ids[row] for row in rows]) for store in stores])

    dim = sum(map(len, blocks.means))
    return write_store(path, ids, hashes, dim, settings, joined, batch_size=4096, dtype=dtype)


def embed_joined(
    clips: Clips,
    hashes: list[str],
    settings: TeacherSettings,
    out: str | os.PathLike,
    *,
    manifest: Manifest,
    progress: Callable[[int], None] | None = None,
    dtype: str = "float32",
    engine: Any = None,
) -> tuple[Teacher, EmbeddingStore]:
    """Fit a join to clips and embed them; the join is saved as ``OUT.teacher``, members that were learned beside it.

    Every member embeds the clips once, into a hidden store beside `out` from which an interrupted call goes on.

    Parameters
    ----------
    settings : TeacherSettings
        Of a join that is to be fitted.
    manifest : Manifest
        Whole, before any clip was left out: stored vectors belong to its rows.
    progress : callable, optional
        Called with the number of clips that one more member has embedded.
    engine : object, optional
        Whose workers share the work, see `embcomp.teachers.spread`.

    Raises
    ------
    ArtifactError
        What is at ``OUT.teacher`` was fitted to something else.
    """
    out = Path(out)
    place = out.with_name(f"{out.name}.teacher")
    specs = settings.argument.split(JOIN)
    learned_on = fingerprint([settings.argument, settings.seed, hashes, clips.seconds])
    if place.exists():
        if read_join(place)[0].get("learned_on") != learned_on:
            raise ArtifactError(
                f"{place} was fitted to other clips or settings; use it as joined:{place}, or choose another --out"
            )
        teacher = JoinedTeacher.load(place, manifest, own=specs)
        joined = replace(settings, argument=str(place), run_code=True)  # what it names, the caller has named, too
        return teacher, embed(
            clips, hashes, teacher, out, progress=progress, dtype=dtype, spread=engine and Spread(engine, joined)
        )
    # Those that are opened come first, so that a missing file is found before anything is learned.
    opened = {one: open_teacher(on_cpu(one) if engine else one, manifest) for one in settings.members if not one.learns}
    beside = [f"{place.name}.{number}" if one.learns else "" for number, one in enumerate(settings.members, 1)]
    for one, name in zip(settings.members, beside):
        if name:
            key = fingerprint([one.options(), hashes, clips.seconds])
            opened[one] = learned_teacher(clips, one, place.with_name(name), key, hashes)
    members = [opened[one] for one in settings.members]
    for one, spec in zip(members, specs):
        check_member(spec, one.frames, one.dim, one.dim)
    parts = out.with_name(f".{out.name}.members")
    saved = [
        replace(one, argument=str(place.with_name(name))) if name else one
        for one, name in zip(settings.members, beside)
    ]
    stores = [
        embed(clips, hashes, one, parts / str(number), progress=progress, spread=engine and Spread(engine, about))
        for number, (one, about) in enumerate(zip(members, saved), 1)
    ]
    ids = clips.manifest.ids
    teacher = JoinedTeacher(members, specs, fit_blocks(stores, ids, specs), beside)
    teacher.learned_on, teacher.seen = learned_on, Seen.of(hashes)
    store = write_joined(out, stores, ids, hashes, teacher.blocks, dtype)
    teacher.save(place)
    for one in stores:
        shutil.rmtree(one.path)
    parts.rmdir()
    return teacher, store
