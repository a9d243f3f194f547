"""The data sets of all recipes, as folders in one DATA."""

from __future__ import annotations

from dataclasses import replace

from recipes.drums.prepare import LAYOUTS as DRUMS
from recipes.esc10.prepare import LAYOUTS as ESC10
from recipes.fsdd.prepare import LAYOUTS as FSDD

LAYOUTS = (
    # In its own recipe, FSDD is DATA itself.
    *(replace(one, manifest="fsdd/manifest.csv", folders=("fsdd", "free-spoken-digit-dataset")) for one in FSDD),
    *ESC10,
    *DRUMS,
)
