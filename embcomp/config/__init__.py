"""Every setting, its default and its limits, once; read from TOML, checked, and written back resolved."""

from embcomp.config.choices import Choice, ChoiceSettings, read_choice
from embcomp.config.limits import seed_setting, setting
from embcomp.config.reading import load, parse, parse_overrides, to_toml
from embcomp.config.schema import to_dict
from embcomp.config.sections import (
    AudioConfig,
    CompressorConfig,
    DataConfig,
    EvaluationConfig,
    RunConfig,
    SplitConfig,
    TrainingConfig,
    VariantConfig,
)

__all__ = [
    "AudioConfig",
    "Choice",
    "ChoiceSettings",
    "CompressorConfig",
    "DataConfig",
    "EvaluationConfig",
    "RunConfig",
    "SplitConfig",
    "TrainingConfig",
    "VariantConfig",
    "load",
    "parse",
    "parse_overrides",
    "read_choice",
    "seed_setting",
    "setting",
    "to_dict",
    "to_toml",
]
