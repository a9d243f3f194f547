"""Recipes of several runs: the comparison of all methods, and the curve over labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.recipe_scripts import RECIPES, ROOT, script
from helpers.tones import write_tones

from embcomp import read_scores
from embcomp.config import load, parse
from embcomp.transfer import METHODS

TINY = {
    "workers": 1,
    "audio": {"seconds": 0.4, "n_mels": 16},
    "split": {"folds": 2, "validation": 0.5, "rotate": True},
    "student": {"width": 8, "embedding": 8},
    "training": {"steps": 5, "batch_size": 4},
    "evaluation": {"bootstrap": 20, "probe": False},
    "variants": [{"name": "no teacher", "transfer": {"method": "none"}}],
}

NOT_MEASURED = {"classifier_reuse"}  # newer than the table


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_runs_end_in_one_table_and_stand_when_run_again(tmp_path):
    from recipes.several import run_several

    write_tones(tmp_path / "home", groups=4, clips=2, name="home")
    data = {"root": str(tmp_path / "home"), "train": "manifest.csv"}
    configs = {name: parse(TINY | {"data": data, "seeds": seeds}) for name, seeds in (("a", [0, 1]), ("b", [2]))}
    table = run_several(configs, tmp_path / "out", "set")
    assert table.columns[0] == "set" and set(table["metric"]) == {"balanced_accuracy"}
    assert table.groupby("set")["seed"].apply(set).to_dict() == {"a": {0, 1, "all"}, "b": {2, "all"}}
    before = (tmp_path / "out/results.csv").read_bytes()
    assert len(list((tmp_path / "out").glob("*/stages/students/*"))) == 3
    run_several(configs, tmp_path / "out", "set")
    assert (tmp_path / "out/results.csv").read_bytes() == before
    assert len(list((tmp_path / "out").glob("*/stages/students/*"))) == 3


def test_the_comparison_is_of_every_method_on_the_same_variants(tmp_path):
    comparison = script("comparison", "run")
    configs = comparison.configs(tmp_path, comparison.SETS, tmp_path / "out", RECIPES / "comparison" / "methods.toml")
    variants = {name: config.variants for name, config in configs.items()}
    for found in variants.values():
        assert {variant.transfer.method for variant in found} == {method.name for method in METHODS} - NOT_MEASURED
        assert [(v.name, v.transfer, v.teacher) for v in found] == [
            (v.name, v.transfer, v.teacher) for v in variants["fsdd"]
        ]
    assert all(config.split.rotate and len(config.seeds) == 5 for config in configs.values())
    assert all(config.data.root == str(tmp_path) for config in configs.values())


def test_with_pools_every_set_has_the_same_variants_and_steps_and_its_own_teacher(tmp_path):
    comparison = script("comparison", "run")
    pool = RECIPES / "comparison" / "pool"
    configs = comparison.configs(tmp_path, comparison.SETS, tmp_path / "out", pool / "methods.toml", sets=pool)
    first = configs["fsdd"].variants
    for config in configs.values():
        assert [(v.name, v.transfer, v.compressor) for v in config.variants] == [
            (v.name, v.transfer, v.compressor) for v in first
        ]
        assert config.data.unlabelled and config.data.cross
        for variant in config.variants:
            alone = variant.transfer.method == "none" or not variant.training.unlabelled
            # Half of a batch is unlabelled: all students see as many labelled clips.
            assert (variant.training.steps, variant.training.batch_size) == (2500, 32 if alone else 64)
    assert len({config.variants[1].teacher.spec for config in configs.values()}) == 3


@pytest.mark.parametrize("path", sorted((RECIPES / "comparison" / "tune").glob("*.toml")), ids=lambda path: path.stem)
def test_configs_for_tuning_parse_and_score_no_probe(path):
    config = load(path)
    assert config.variants[0].transfer.method == "none" and not config.evaluation.probe and not config.data.cross


def test_the_table_pairs_seeds_with_those_of_no_teacher():
    from recipes.comparison.table import markdown

    scores = {"no teacher": [0.5, 0.7], "raw": [0.6, 0.9]}
    rows = [
        {"set": "fsdd", "setting": "in-domain", "variant": name, "seed": str(seed), "value": value, "low": 0, "high": 1}
        | {"probe": "", "vectors": ""}
        for name, values in scores.items()
        for seed, value in [*enumerate(values), ("all", np.mean(values))]
    ]
    lines = markdown(pd.DataFrame(rows), "in-domain").splitlines()
    assert lines[0] == "| variant | FSDD, unseen speakers |"
    assert lines[2:] == ["| no teacher | 0.600 [0.000, 1.000] |", "| raw | 0.750 [0.000, 1.000], +0.150 ± 0.050 |"]


def test_the_label_curve_asks_for_each_number_of_labels(tmp_path, monkeypatch):
    curve = script("fsdd", "label_curve")
    asked, drawn = {}, []
    monkeypatch.setattr(curve, "run_several", lambda configs, out, column: asked.update(configs))
    monkeypatch.setattr(curve, "markdown", lambda results: "")
    monkeypatch.setattr(curve, "plot", lambda results, path: drawn.append(path))
    result = CliRunner().invoke(curve.main, [str(tmp_path), "--labels", "5,20", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert {name: config.split.labels_per_class for name, config in asked.items()} == {"5": 5, "20": 20}
    assert drawn == [tmp_path / "out/curve.svg"]
    result = CliRunner().invoke(curve.main, [str(tmp_path), "--labels", "five"])
    assert result.exit_code == 2 and "whole numbers" in result.stderr


def test_the_label_curve_is_drawn(tmp_path):
    rows = [
        {
            "labels_per_class": count,
            "setting": "in-domain",
            "variant": name,
            "probe": kind,
            "vectors": "embedding" if kind else "",
            "seed": seed,
            "value": 0.5 + int(count) / 100,
        }
        for count in ("5", "20")
        for name, kind in (("no teacher", ""), ("probe: kmeans", "probe"), ("k-NN: kmeans", "k-NN"))
        for seed in (0, 1, "all")
    ]
    curve = script("fsdd", "label_curve")
    lines = curve.markdown(pd.DataFrame(rows)).splitlines()
    assert lines[0] == "| variant | 5 labels | 20 labels |"
    assert lines[2:] == [
        "| no teacher | 0.550 | 0.700 |",
        "| probe: kmeans | 0.550, +0.000 ± 0.000 | 0.700, +0.000 ± 0.000 |",
    ]
    curve.plot(pd.DataFrame(rows), tmp_path / "curve.svg")
    assert "labelled clips per class" in (tmp_path / "curve.svg").read_text()


def test_pairs_are_compared_student_by_student():
    from recipes.comparison.claims import differences, main

    path = ROOT / "recipes/speech/equaliser.csv"
    scores = read_scores(path)
    table = differences(scores, pairs=[("raw + pool", "no teacher"), ("absent", "no teacher")])
    assert list(table["variant"]) == ["raw + pool"]
    single = scores[(scores["seed"] != "all") & (scores["setting"] == "cross-dataset")].set_index(["variant", "seed"])[
        "value"
    ]
    found = single["raw + pool"] - single["no teacher"]
    row = table.iloc[0]
    assert row["cross-dataset", "count"] == len(found) == 12
    np.testing.assert_allclose(row["cross-dataset", "mean"], found.mean(), rtol=1e-9)
    np.testing.assert_allclose(row["cross-dataset", "sem"], found.std(ddof=1) / 12**0.5, rtol=1e-9)
    done = CliRunner().invoke(main, [str(path), "--pair", "raw + pool", "no teacher"])
    assert "| raw + pool over no teacher | +0.029 ± 0.014 (12) | +0.038 ± 0.009 (12) |" in done.output
    wrong = CliRunner().invoke(main, [str(path), "--pair", "raw + pol", "no teacher"])
    assert wrong.exit_code == 2 and "did you mean 'raw + pool'" in wrong.output
