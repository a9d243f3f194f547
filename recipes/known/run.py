"""Compare the variants of a config on published sets: python recipes/known/run.py DATA [--config quick] [--out DIR]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import run_command
from recipes.known.prepare import LAYOUTS

main = run_command(Path(__file__).resolve().parent, LAYOUTS)

if __name__ == "__main__":
    main()
