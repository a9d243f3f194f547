"""embcomp: compress a teacher's embeddings, teach a small student, and say honestly how well it does.

Names are imported when first used; ``import embcomp`` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "Classifier": "embcomp.students.classifier",
    "Clips": "embcomp.audio.clips",
    "Compressor": "embcomp.compression",
    "EmbcompError": "embcomp.errors",
    "EmbeddingStore": "embcomp.storage.store",
    "LogMel": "embcomp.audio.logmel",
    "Manifest": "embcomp.data.manifest",
    "RunConfig": "embcomp.config",
    "evaluate": "embcomp.evaluation.scores",
    "load_config": "embcomp.config:load",
    "predict": "embcomp.students.prediction",
    "run": "embcomp.pipeline",
}

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from embcomp.audio.clips import Clips as Clips
    from embcomp.audio.logmel import LogMel as LogMel
    from embcomp.compression import Compressor as Compressor
    from embcomp.config import RunConfig as RunConfig
    from embcomp.config import load as load_config  # noqa: F401
    from embcomp.data.manifest import Manifest as Manifest
    from embcomp.errors import EmbcompError as EmbcompError
    from embcomp.evaluation.scores import evaluate as evaluate
    from embcomp.pipeline import run as run
    from embcomp.storage.store import EmbeddingStore as EmbeddingStore
    from embcomp.students.classifier import Classifier as Classifier
    from embcomp.students.prediction import predict as predict


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'embcomp' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
