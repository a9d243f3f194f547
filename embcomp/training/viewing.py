"""Views of the clips of one training: which set the store of each view is of, and what a student gets of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from embcomp.audio.features import Features, compute_features
from embcomp.audio.views import View, ViewedClips, views_of
from embcomp.config import VariantConfig
from embcomp.errors import ConfigError, StoreError
from embcomp.storage.store import EmbeddingStore
from embcomp.students.given import Given
from embcomp.training.assembly import Part


@dataclass(frozen=True)
class GivenView:
    """One view of one set of clips.

    Attributes
    ----------
    view : View
    given : Given
        The clips as they are.
    store : EmbeddingStore or None
        Targets of the view; None where labels alone are learned from.
    """

    view: View
    given: Given
    store: EmbeddingStore | None = None

    def features(self, path: str | os.PathLike) -> Features:
        """Log-mels of the view, kept at `path`."""
        given = self.given
        return compute_features(ViewedClips.viewed(given.clips, self.view), given.hashes, given.front, path)

    def part(self, path: str | os.PathLike, like: Part, rows: np.ndarray | None = None) -> Part:
        """The view of the clips of `like`, or of its `rows`."""
        viewed = replace(like, features=self.features(path), embeddings=self.store)
        return viewed if rows is None else viewed.select(rows)

    def key(self) -> list[Any]:
        """What a student depends on."""
        return [asdict(self.view), None if self.store is None else self.store.settings]


def with_views(
    variant: VariantConfig, stores: Sequence[EmbeddingStore], sets: Sequence[Given]
) -> tuple[VariantConfig, list[list[GivenView]]]:
    """The variant with the number of views there are, and the views of each set.

    Parameters
    ----------
    stores : sequence of EmbeddingStore
        Targets of views, each of the clips of one set.
    sets : sequence of Given
        The labelled clips, then the unlabelled sets.

    Raises
    ------
    ConfigError
        Views were asked for and there are no targets of them, or the other way round.
    StoreError
        A store is of no view, of none of the sets, of a view that another store is of, or of clips of another length.
    """
    asked, cached = variant.training.views, variant.transfer.cached
    if stores and not cached:
        raise ConfigError(
            f"transfer method {variant.transfer.method!r} learns from no targets; leave the views' out, and set training.views"
        )
    if not stores and not asked:
        return variant, [[] for _ in sets]
    if variant.training.mixstyle:
        raise ConfigError(
            "training.mixstyle changes log-mels in a way that no teacher could hear; set it to 0 with views"
        )
    if any(one.clips is None for one in sets):
        raise ConfigError("views are of audio; leave --views and training.views out where students get something else")
    if not cached:
        return variant, [[GivenView(view, sets[0]) for view in views_of(variant.training)], *([] for _ in sets[1:])]
    if not stores:
        raise ConfigError(
            "training.views needs the targets of the views: embed with --views, and give a --views STORE for each"
        )
    found: list[list[GivenView]] = [[] for _ in sets]
    for store in stores:
        view, number = view_of(store), _set_of(store, sets)
        _check_length(store, sets[number])
        if any(view == one.view for one in found[number]):
            raise StoreError(f"{store.path} is of view {view.number}, as another store of --views is; give each once")
        found[number].append(GivenView(view, sets[number], store))
    if asked not in (0, len(found[0])):
        raise ConfigError(f"training.views is {asked}, and --views has {len(found[0])} of the labelled clips")
    if not found[0]:
        raise ConfigError("--views has views of unlabelled clips only; give those of the labelled clips, too")
    return replace(variant, training=replace(variant.training, views=len(found[0]))), found


def view_of(store: EmbeddingStore) -> View:
    """The view that the vectors in a store are of, compressed or not.

    Raises
    ------
    StoreError
        They are of clips as they are.
    """
    settings = _embedded(store)
    try:
        return View(**settings["view"])
    except (KeyError, TypeError):
        raise StoreError(
            f"{store.path} holds vectors of clips as they are, not of a view; embcomp embed --views writes those of views"
        ) from None


def _embedded(store: EmbeddingStore) -> dict[str, Any]:
    """Settings of the embeddings that a store's vectors come from."""
    settings = store.settings
    while isinstance(settings.get("source"), dict):
        settings = settings["source"]
    return settings


def _set_of(store: EmbeddingStore, sets: Sequence[Given]) -> int:
    """Number of the set whose clips, by id and content, a store holds all of."""
    there = set(zip(store.ids, store.hashes))
    for number, given in enumerate(sets):
        if there.issuperset(zip(given.manifest.ids, given.hashes)):
            return number
    raise StoreError(
        f"{store.path} lacks clips of every manifest given, or they have changed since; embed the view of them again"
    )


def _check_length(store: EmbeddingStore, given: Given) -> None:
    settings = _embedded(store)
    for made_by in settings.get("members") or [settings]:
        seconds = made_by.get("seconds")
        if seconds is not None and seconds != given.clips.seconds:
            raise StoreError(
                f"{store.path} is of clips of up to {seconds:g} s, and the student gets up to {given.clips.seconds:g} s: "
                f"embed with --seconds {given.clips.seconds:g}, or set audio.seconds to {seconds:g}"
            )
