"""Defaults and limits of the methods' settings: those of the papers, or the widest that mean something; one name, one meaning."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from embcomp.errors import ConfigError
from embcomp.transfer import METHODS

# Default, least and most.
NUMBERS = {
    "weight": (0.5, 0, 1),  # a share of the loss
    "kd_weight": (0.3, 0, 1),  # EAsT-KD: 0.3 of L_KD, 0.7 of L_dist
    "soft_labels": (0.0, 0, 1),
    "label_free": (0.0, 0, 0.95),  # some steps are left for the labels
    "temperature": (2.0, 0.01, None),  # EAsT-KD
    "contrast_temperature": (0.07, 0.001, None),  # CLIP's at its start
    "prototypes": (100, 1, None),
    "concepts": (32, 2, None),  # one tells nothing apart
    "clusters": (0, 0, None),
    "student_repeat": (1, -1, None),
    "teacher_repeat": (1, -1, None),
}
OTHERS = {
    "distance": "distance_correlation",  # EAsT
    "regression_distance": {"classifier_reuse": "mse", "regression": "cosine"},  # SimKD; S-SONDO
    "head": "linear",
    "schedule": "two-stage",
    "concept_labels": "soft",
    "frames": False,
    "stage_weights": (),
    "student_projector": False,
    "stop_gradient": True,
    "faithful": False,
}


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.name)
def test_defaults_and_limits(method):
    for field in fields(method.Settings):
        limits = field.metadata["at_least"], field.metadata["at_most"]
        if field.name in NUMBERS:
            assert (field.default, *limits) == NUMBERS[field.name], field.name
            for limit, beyond in zip(limits, (-0.001, 0.001)):
                if limit is not None and isinstance(field.default, float):
                    assert getattr(method.settings_of(**{field.name: float(limit)}), field.name) == limit
                    with pytest.raises(ConfigError, match=f"{field.name} must be at"):
                        method.settings_of(**{field.name: limit + beyond})
        else:
            expected = OTHERS[field.name]
            expected = expected[method.name] if isinstance(expected, dict) else expected
            assert (field.default, *limits) == (expected, None, None), field.name


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.name)
def test_by_default_a_clip_has_one_label(method):
    assert inspect.signature(method).parameters["multi_label"].default is False
