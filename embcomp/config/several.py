"""Several choices written as one: ``kmeans(centroids=64) + onnx:FILE``."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from embcomp.errors import ConfigError

JOIN = " + "
_WITH_SETTINGS = re.compile(r"(.*?)\s*\(([^()]*=[^()]*)\)", re.DOTALL)


def parts_of(text: str) -> list[tuple[str, str]]:
    """Each part of ``A + B(KEY=VALUE, ...)``: what is chosen, and its settings as they are written.

    Examples
    --------
    >>> parts_of("store:a.npy + kmeans(centroids=64, seed=1)")
    [('store:a.npy', ''), ('kmeans', 'centroids=64, seed=1')]
    """
    found = []
    for part in text.split(JOIN):
        part = part.strip()
        match = _WITH_SETTINGS.fullmatch(part)
        found.append((match[1], match[2]) if match else (part, ""))
    return found


def settings_in(text: str) -> dict[str, Any]:
    """The settings between the brackets of a part: ``centroids=64, seed=1``.

    Raises
    ------
    ConfigError
        It is no list of KEY=VALUE, where a value is TOML.
    """
    try:
        return tomllib.loads(f"settings = {{{text}}}")["settings"] if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"({text}) must be (KEY=VALUE, KEY=VALUE), with strings in quotes and lists in [brackets]: {error}"
        ) from None
