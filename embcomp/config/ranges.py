"""What values a setting may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from embcomp.errors import ConfigError, nearest

MAX_SEED = 2**31 - 1  # what numpy, torch and scikit-learn all take

CHOICES = {
    "data.duplicates": ("refuse", "join"),
    "split.by": ("group", "column", "none"),
    "transfer.schedule": ("two-stage", "joint"),
    "transfer.head": ("linear", "mlp"),
    "transfer.regression_distance": ("cosine", "mse", "l1", "kl"),
    "transfer.concept_labels": ("soft", "hard"),
    "student.norm": ("none", "global", "clip", "band"),
}

AT_LEAST = {
    "threads": 1, "workers": 0, "audio.sample_rate": 1000, "audio.seconds": 0.01, "audio.n_fft": 16, "audio.win_length": 1,
    "audio.hop_length": 1, "audio.n_mels": 1, "audio.fmin": 0, "audio.fmax": 0, "split.folds": 0, "split.validation": 0.01,
    "split.labels_per_class": 0, "teacher.patch_frames": 1, "teacher.whitened": 1, "teacher.centroids": 2, "teacher.patches": 100,
    "compressor.dim": 1, "transfer.weight": 0, "transfer.temperature": 0.01, "transfer.kd_weight": 0,
    "transfer.clusters": 0, "transfer.prototypes": 1, "transfer.contrast_temperature": 0.001, "student.width": 8, "student.embedding": 1, "student.dropout": 0,
    "training.steps": 1, "training.batch_size": 2, "training.learning_rate": 0, "training.weight_decay": 0, "training.warmup": 0,
    "training.evaluate_every": 1, "training.patience": 0, "training.freq_mask": 0, "training.time_mask": 0, "training.roll": 0,
    "training.gain": 0, "training.checkpoint_every": 1, "evaluation.bootstrap": 1, "evaluation.confidence": 0.01, "evaluation.threshold": 0.001,
    "split.seed": 0, "teacher.seed": 0, "evaluation.seed": 0, "teacher.frames": 1, "transfer.student_repeat": -1,
    "transfer.teacher_repeat": -1, "transfer.concepts": 2, "training.mixup": 0, "training.labelled": 0,
}  # fmt: skip

AT_MOST = {
    "audio.seconds": 3600, "split.validation": 0.5, "transfer.weight": 1, "transfer.kd_weight": 1, "student.dropout": 0.95, "training.warmup": 1, "training.labelled": 1,
    "training.time_mask": 0.5, "training.roll": 0.5, "evaluation.confidence": 0.9999, "evaluation.threshold": 0.999,
    "split.seed": MAX_SEED, "teacher.seed": MAX_SEED, "evaluation.seed": MAX_SEED,
}  # fmt: skip


def check(config: Any, source: str, overridable: Iterable[str]) -> None:
    """Hold a RunConfig to the ranges above.

    Parameters
    ----------
    config : RunConfig
    source : str
        Where it came from, for messages.
    overridable : iterable of str
        Sections that every variant has a copy of.

    Raises
    ------
    ConfigError
        Names the key, its value and what is allowed.
    """
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"{source}: seeds must be a list of different whole numbers, not {list(config.seeds)}")
    if not all(0 <= seed <= MAX_SEED for seed in config.seeds):
        raise ConfigError(f"{source}: seeds must lie in 0..{MAX_SEED}, not {list(config.seeds)}")
    sections: list[tuple[str, Any]] = [("", config)]
    sections += [
        (f"{item.name}.", getattr(config, item.name))
        for item in fields(config)
        if is_dataclass(getattr(config, item.name))
    ]
    for number, variant in enumerate(config.variants):
        sections += [(f"variants[{number}].{name}.", getattr(variant, name)) for name in overridable]
    for prefix, section in sections:
        for item in fields(section):
            key, value = prefix + item.name, getattr(section, item.name)
            rule = key.split("].")[-1]
            if rule in CHOICES and value not in CHOICES[rule]:
                raise ConfigError(f"{source}: {key} is {value!r}; {nearest(value, CHOICES[rule])}")
            if isinstance(value, float) and not abs(value) < float("inf"):
                raise ConfigError(f"{source}: {key} must be finite, not {value}")
            if rule in AT_LEAST and value < AT_LEAST[rule]:
                raise ConfigError(f"{source}: {key} must be at least {AT_LEAST[rule]}, not {value}")
            if rule in AT_MOST and value > AT_MOST[rule]:
                raise ConfigError(f"{source}: {key} must be at most {AT_MOST[rule]}, not {value}")
