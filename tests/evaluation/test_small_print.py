"""What tables and sentences say beside the numbers: sizes by default, intervals in words, labels left out, damaged files."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from embcomp.data.labels import MappedLabels, encode
from embcomp.errors import ArtifactError
from embcomp.evaluation import dimension
from embcomp.evaluation.comparison import compare, sentence
from embcomp.evaluation.compressors import CompressorEvaluation, _lacking, evaluate_compressor
from embcomp.evaluation.dimension import dimension_curve
from embcomp.evaluation.probes import knn_probe
from embcomp.evaluation.scores import Predictions, evaluate
from embcomp.metrics import score, scores

GROUPS = 20


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    vectors = rng.normal(size=(120, 20)) + 2 * np.eye(20)[labels]
    return vectors.astype(np.float32), labels, np.arange(120) // 6


def variants(*skills: float, groups: int = GROUPS) -> dict[str, list[Predictions]]:
    rng = np.random.default_rng(0)
    group = np.repeat([f"g{number}" for number in range(groups)], 6).astype(object)
    ids, truth = np.array([f"clip{row}" for row in range(len(group))], dtype=object), np.arange(len(group)) % 2
    found = {}
    for number, skill in enumerate(skills):
        right = rng.random(len(group)) < skill
        likely = np.eye(2, dtype=np.float32)[np.where(right, truth, 1 - truth)]
        matrix = np.eye(2, dtype=np.float32)[truth]
        found[f"variant {number}"] = [Predictions(ids, group, matrix, likely, ("a", "b"), False)]
    return found


def test_sizes_by_default_are_the_powers_of_two_below_the_embeddings(rows):
    curve = dimension_curve(*rows, methods=("pca",), folds=2)
    assert curve["dim"].tolist() == [20, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("dims", "nested", "expected"), [((2, 4), True, {True}), ((4,), True, {False}), ((2, 4), False, {False})]
)
def test_two_sizes_or_more_share_one_nested_fit(rows, dims, nested, expected, monkeypatch):
    asked, made = [], dimension.Compressor

    def watched(*args, **options):
        asked.append(options["nested"])
        return made(*args, **options)

    monkeypatch.setattr(dimension, "Compressor", watched)
    dimension_curve(*rows, dims=dims, methods=("linear",), folds=2, nested=nested, options={"epochs": 1})
    assert set(asked) == expected


def test_a_supported_difference_is_said_with_its_interval():
    table = compare(variants(0.4, 0.9), "variant 0", "accuracy")
    row = table.iloc[0]
    said = sentence(table)
    assert f"by {row['difference']:.3f} [{row['low']:+.3f}, {row['high']:+.3f}]" in said.replace("\\", "")


def test_the_smallest_p_that_can_be_stays_below_1_after_correction():
    table = compare(variants(0.4, 0.6, 0.8, 0.9, groups=2), "variant 0", "accuracy", all_pairs=True)
    assert len(table) == 6
    assert (table["p_smallest"] == 1).all()


def test_labels_that_probes_do_not_know_add_up_over_folds():
    labels = encode(["a", "b", "c"])
    parts = [
        (np.zeros((3, 2)), labels, MappedLabels(labels, np.arange(3), {"x": 1, "y": 2}, ("a", "c"))),
        (np.zeros((3, 2)), labels, MappedLabels(labels, np.arange(3), {"x": 3}, ("c", "b"))),
    ]
    assert _lacking(parts) == ({"x": 4, "y": 2}, ("c",))


def test_what_was_found_is_not_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        CompressorEvaluation(None, {}, ()).table = 1


def test_predictions_on_a_drive_that_fails_are_named(tmp_path, monkeypatch):
    (tmp_path / "some.csv").write_text("id,group,label,p:a\n")
    monkeypatch.setattr(pd, "read_csv", Mock(side_effect=OSError("input/output error")))
    with pytest.raises(ArtifactError, match=r"some.csv is damaged \(input/output error\)"):
        Predictions.load(tmp_path / "some.csv")


def test_defaults_are_those_that_the_documentation_says():
    """What a score means depends on them."""
    expected = {
        dimension_curve: {
            "folds": 5,
            "neighbours": 10,
            "probe_strength": 0.01,
            "nested": True,
            "seed": 0,
            "dims": None,
        },
        dimension.recommend: {"margin": 0.02, "method": None},
        dimension.plot_curve: {"margin": 0.02, "path": None},
        evaluate: {"skip_bad": False, "allow_seen": False, "reestimate": False, "ffmpeg": False},
        evaluate_compressor: {"allow_seen": False, "reestimate": False, "seed": 0},
        knn_probe: {"neighbours": 5},
        score: {"multi_label": False, "threshold": 0.5},
        scores: {
            "multi_label": False,
            "threshold": 0.5,
            "bootstrap": 1000,
            "confidence": 0.95,
            "seed": 0,
            "clips": None,
        },
    }
    for function, defaults in expected.items():
        parameters = inspect.signature(function).parameters
        assert {name: parameters[name].default for name in defaults} == defaults, function.__name__
