"""A teacher of the size of wav2vec 2.0 base with random weights: python recipes/clip_embed_kd/random_teacher.py FOLDER.

It costs what the trained one costs, 95 million parameters, and knows nothing: for cost.py alone.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import click


@click.command("random_teacher")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the model into FOLDER, which `hf:FOLDER` opens."""
    try:
        import torch
        import transformers
    except ImportError:
        raise click.ClickException("it needs transformers: pip install -e '.[hf]' in the clone of embcomp") from None
    if folder.exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty; name another folder")
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).eval().save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)


if __name__ == "__main__":
    main()
