"""Manifests made from data as people have it: folders, tables, annotations, published data sets.

A maker is one file of this folder: a class that says what it reads, recognises it, and finds the clips. The tuple
below is the list of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from embcomp.data.makers.audacity import Audacity
from embcomp.data.makers.audiomnist import AudioMnist
from embcomp.data.makers.base import Clip, Maker
from embcomp.data.makers.build import Made, build
from embcomp.data.makers.emodb import EmoDb
from embcomp.data.makers.esc50 import Esc50
from embcomp.data.makers.folder import Folder
from embcomp.data.makers.fsdd import Fsdd
from embcomp.data.makers.gtzan import Gtzan
from embcomp.data.makers.hf import HuggingFace
from embcomp.data.makers.irmas import Irmas
from embcomp.data.makers.kaldi import Kaldi
from embcomp.data.makers.mtat import Mtat
from embcomp.data.makers.openmic import OpenMic
from embcomp.data.makers.ravdess import Ravdess
from embcomp.data.makers.raven import Raven
from embcomp.data.makers.speech_commands import SpeechCommands
from embcomp.data.makers.summary import Summary
from embcomp.data.makers.table import Table
from embcomp.data.makers.tar import Shards
from embcomp.data.makers.urbansound8k import UrbanSound8K
from embcomp.data.makers.windows import WindowRule
from embcomp.errors import ManifestError, choose

__all__ = ["MAKERS", "Clip", "Made", "Maker", "Summary", "WindowRule", "detect", "make"]

MAKERS: tuple[type[Maker], ...] = (
    *(Folder, Table, HuggingFace, Kaldi, Raven, Audacity, Shards),
    *(Esc50, UrbanSound8K, SpeechCommands, Fsdd, AudioMnist, OpenMic, Irmas, Mtat, Gtzan, Ravdess, EmoDb),
)


def make(
    kind: str,
    sources: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    label: str = "",
    group: str = "",
    window: WindowRule | float | None = None,
    dataset: str = "",
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Made:
    """Find the clips of a source and say what a manifest of them holds; ``write`` then writes it.

    Parameters
    ----------
    kind : str
        Name of a maker: ``"folder"``, ``"table"``, ``"esc50"``, ...
    sources : path or sequence of paths
        A folder or file; several files for makers that take several.
    out : path, optional
        The manifest; by default ``manifest.csv`` in the folder, or beside the file.
    label, group : str
        Regular expressions that find the label and the group in each path, see
        `embcomp.data.makers.patterns.by_pattern`; empty leaves them to the maker.
    window : WindowRule or float, optional
        Cut into windows of this length (seconds). Where the source has selections in recordings a window gets the
        labels of those it overlaps enough, else the label of its clip.
    dataset : str
        Name of the data set in the manifest; empty takes the maker's.
    progress : callable, optional
        Called with files looked at and files in all.
    **settings
        Of the maker, see its ``Settings``.

    Returns
    -------
    Made

    Raises
    ------
    ManifestError
        The source is not what it should be, a pattern does not match, or no clip can be used.
    ConfigError
        A setting is unknown or out of range.

    Examples
    --------
    >>> from embcomp.data import makers
    >>> made = makers.make("folder", "sounds", group=r"_(speaker\\d+)_")   # doctest: +SKIP
    >>> print("\\n".join(made.summary.lines()))                            # doctest: +SKIP
    >>> made.write()                                                       # doctest: +SKIP
    """
    maker = named(kind)()
    paths = [Path(sources)] if isinstance(sources, (str, os.PathLike)) else [Path(path) for path in sources]
    if not paths:
        raise ManifestError(f"manifest {maker.name} needs a source ({maker.source})")
    target = Path(out) if out is not None else maker.default_out(paths[0])
    rule = WindowRule(float(window)) if isinstance(window, (int, float)) else window
    return build(
        maker,
        paths,
        target,
        label=label,
        group=group,
        window=rule,
        dataset=dataset,
        settings=settings,
        progress=progress,
    )


def named(kind: str) -> type[Maker]:
    """The maker of that name; ``_`` and ``-`` are the same.

    Raises
    ------
    ConfigError
        There is none; the nearest is named.
    """
    return choose("kind of source", str(kind).replace("_", "-"), {maker.name: maker for maker in MAKERS})


def detect(path: str | os.PathLike) -> type[Maker] | None:
    """The maker for a file or folder: a published layout if it is one, else by what lies there; None for nothing known."""
    path = Path(path)
    # A folder of any kind is a folder: it comes last.
    for maker in (*(one for one in MAKERS if one is not Folder), Folder):
        try:
            if maker().recognises(path):
                return maker
        except OSError:
            continue
    return None
