"""embcomp: compress a teacher's embeddings, train a small student, and measure how well it does.

Names are imported when first used; ``import embcomp`` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULE_OF = {
    "Classifier": "embcomp.students.classifier",
    "Clips": "embcomp.audio.clips",
    "Compressor": "embcomp.compression",
    "EmbcompError": "embcomp.errors",
    "EmbeddingStore": "embcomp.storage.store",
    "LogMel": "embcomp.audio.logmel",
    "Manifest": "embcomp.data.manifest",
    "RunConfig": "embcomp.config",
    "apply": "embcomp.compression.store",
    "compress": "embcomp.training.compress",
    "dimension_curve": "embcomp.evaluation.dimension",
    "distill": "embcomp.training.distill",
    "embed": "embcomp.teachers.embed_manifest:embed_manifest",
    "evaluate": "embcomp.evaluation.scores",
    "load_config": "embcomp.config:load",
    "make_manifest": "embcomp.data.makers:make",
    "matrix": "embcomp.pipeline.matrix",
    "predict": "embcomp.export.labelling",
    "predict_windows": "embcomp.export.labelling",
    "read_scores": "embcomp.evaluation.table",
    "run": "embcomp.pipeline",
    "suggest": "embcomp.review.suggesting",
    "sweep": "embcomp.pipeline.sweep",
    "tune": "embcomp.pipeline.tune",
    "validate": "embcomp.pipeline.validation",
    "write_report": "embcomp.report",
}

__all__ = [*_MODULE_OF, "__version__"]

if TYPE_CHECKING:
    from embcomp.audio.clips import Clips as Clips
    from embcomp.audio.logmel import LogMel as LogMel
    from embcomp.compression import Compressor as Compressor
    from embcomp.compression.store import apply as apply
    from embcomp.config import RunConfig as RunConfig
    from embcomp.config import load
    from embcomp.data.makers import make
    from embcomp.data.manifest import Manifest as Manifest
    from embcomp.errors import EmbcompError as EmbcompError
    from embcomp.evaluation.dimension import dimension_curve as dimension_curve
    from embcomp.evaluation.scores import evaluate as evaluate
    from embcomp.evaluation.table import read_scores as read_scores
    from embcomp.export.labelling import predict as predict
    from embcomp.export.labelling import predict_windows as predict_windows
    from embcomp.pipeline import run as run
    from embcomp.pipeline.matrix import matrix as matrix
    from embcomp.pipeline.sweep import sweep as sweep
    from embcomp.pipeline.tune import tune as tune
    from embcomp.pipeline.validation import validate as validate
    from embcomp.report import write_report as write_report
    from embcomp.review.suggesting import suggest as suggest
    from embcomp.storage.store import EmbeddingStore as EmbeddingStore
    from embcomp.students.classifier import Classifier as Classifier
    from embcomp.teachers.embed_manifest import embed_manifest
    from embcomp.training.compress import compress as compress
    from embcomp.training.distill import distill as distill

    load_config, make_manifest, embed = load, make, embed_manifest


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'embcomp' has no attribute {name!r}")
    module, _, attribute = _MODULE_OF[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
