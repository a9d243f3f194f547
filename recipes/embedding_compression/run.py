"""Compare ways to compress a teacher: python recipes/embedding_compression/run.py [DATA] [--manifest FILE] [--config quick] [--out DIR]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.methods import method_command

main = method_command(Path(__file__).resolve().parent)

if __name__ == "__main__":
    main()
