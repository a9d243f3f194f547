"""The smallest run that has every kind of stage."""

from __future__ import annotations

from pathlib import Path


def tiny(root: Path, **sections) -> dict:
    content = {
        "name": "tiny",
        "seeds": [0, 1],
        "workers": 1,
        "data": {"root": str(root), "train": "home/manifest.csv", "cross": ["abroad/manifest.csv"]},
        "audio": {"seconds": 0.4, "n_mels": 24},
        "split": {"folds": 2, "validation": 0.5},
        "teacher": {"centroids": 8, "whitened": 16, "patches": 1000},
        "compressor": {"dim": 4},
        "student": {"width": 16, "embedding": 16},
        "training": {"steps": 20, "batch_size": 8, "evaluate_every": 10, "checkpoint_every": 10, "freq_mask": 2},
        "evaluation": {"bootstrap": 50},
        "variants": [
            {"name": "no teacher", "transfer": {"method": "none"}},
            {"name": "raw", "transfer": {"method": "embedding"}},
            {"name": "compressed"},
            {"name": "joint", "transfer": {"schedule": "joint"}},
        ],
    }
    if "kmeans" not in sections.get("teacher", {}).get("spec", "kmeans"):
        content["teacher"] = {}  # another teacher has settings of its own
    for section, values in sections.items():
        content[section] = {**content[section], **values} if isinstance(values, dict) else values
    return content


# A file of settings for two sets of tones, home and abroad; {workers} is to be filled in.
TONES_RUN = """
seeds = [0, 1]
workers = {workers}
[data]
train = "home/manifest.csv"
cross = ["abroad/manifest.csv"]
[audio]
seconds = 0.3
n_mels = 16
[split]
folds = 2
validation = 0.5
[teacher]
centroids = 4
whitened = 8
patches = 300
[compressor]
dim = 1
[student]
width = 8
[training]
steps = 12
batch_size = 8
evaluate_every = 6
"""
