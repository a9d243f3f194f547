"""Two data sets without audio: ids, labels and groups, a table and images that students get, and a teacher's vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

CONFIG = """
seeds = [0, 1]
workers = 1
[data]
train = "first/manifest.csv"
cross = ["other/manifest.csv"]
inputs = "INPUTS"
input_file = "FILE"
[split]
folds = 2
[evaluation]
bootstrap = 20
[training]
steps = 60
batch_size = 16
evaluate_every = 20
[teacher]
spec = "store:emb.npy"
[compressor]
dim = 3
[student]
embedding = 16
width = 16
[[variants]]
name = "no teacher"
transfer.method = "none"
[[variants]]
name = "raw"
transfer.method = "embedding"
[[variants]]
name = "compressed"
"""


def write_set(folder: Path, clips: int = 60, shift: float = 0.0, seed: int = 0) -> Path:
    """Three classes and ten groups: ``emb.npy``, ``table.csv`` in another order of rows, ``images.npz``, a manifest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % 3
    folder.mkdir(parents=True)
    vectors = rng.normal(size=(clips, 8)) + 2 * np.eye(8)[labels] + shift
    np.save(folder / "emb.npy", vectors.astype(np.float32))
    ids = [f"{folder.name}{number}" for number in range(clips)]
    groups = [f"g{number // 3 % 10}" for number in range(clips)]
    manifest = pd.DataFrame({"path": ids, "label": [f"c{label}" for label in labels], "group": groups})
    manifest.to_csv(folder / "manifest.csv", index=False)
    cheap = 100 * vectors[:, :4] + rng.normal(size=(clips, 4))
    table = pd.DataFrame(cheap, columns=["a", "b", "c", "d"]).assign(id=ids)
    table.sample(frac=1, random_state=0).to_csv(folder / "table.csv", index=False)
    images = rng.normal(size=(clips, 6, 5)).astype(np.float32)
    images[np.arange(clips), labels] += 3
    np.savez(folder / "images.npz", images=images, ids=np.array(ids))
    return folder


def write_config(root: Path, inputs: str, name: str = "c.toml") -> Path:
    """Three variants with students on the table or on the images."""
    file = {"table": "table.csv", "images": "images.npz"}[inputs]
    (root / name).write_text(CONFIG.replace("INPUTS", inputs).replace("FILE", file))
    return root / name
