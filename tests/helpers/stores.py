"""A store of ten rows, and a producer that remembers what it was asked for."""

from __future__ import annotations

import numpy as np

from embcomp.storage.store import write_store

IDS = [f"clip{number}.wav" for number in range(10)]
HASHES = [f"hash{number}" for number in range(10)]
SETTINGS = {"teacher": "kmeans", "audio": {"rate": 16_000}}
VECTORS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)


class Producer:
    """Gives rows of an array, and remembers what it was asked for."""

    def __init__(self, vectors=VECTORS, fail_at=None):
        self.vectors, self.fail_at, self.asked = vectors, fail_at, []

    def __call__(self, rows):
        assert rows.dtype == np.int64
        if self.fail_at in rows:
            raise RuntimeError("the power went")
        self.asked += rows.tolist()
        return self.vectors[rows]


def write(path, produce=None, ids=IDS, hashes=HASHES, settings=SETTINGS, dim=3, **options):
    options = {"batch_size": 3, **options}
    return write_store(path, ids, hashes, dim, settings, Producer() if produce is None else produce, **options)
