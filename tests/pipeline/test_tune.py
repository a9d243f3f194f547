"""Tuning: what may be searched, that test clips stay untouched, that it goes on, and that the best is the best."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.config import load, parse, to_toml
from embcomp.errors import ArtifactError, ConfigError, MissingDependencyError
from embcomp.pipeline import tune as tuning
from embcomp.pipeline.search_space import override, read_space
from embcomp.pipeline.tune import tune

SEARCH = ["transfer.weight=0.1..1:log", "compressor.dim=2|4"]


@pytest.mark.parametrize(
    ("text", "choices", "ends", "log"),
    [
        ("a.b=1..8", (), (1, 8), False),
        ("a.b = 0.5..2:log", (), (0.5, 2.0), True),
        ("a.b=1e-4..1", (), (1e-4, 1.0), False),
        ("a.b=-1..1", (), (-1, 1), False),
        ("a.b=x|y", ("x", "y"), (0, 0), False),
        ("a.b=16|32", (16, 32), (0, 0), False),
        ("a.b=true|false", (True, False), (0, 0), False),
    ],
)
def test_what_a_search_says(text, choices, ends, log):
    (one,) = read_space([text])
    assert (one.key, one.choices, (one.low, one.high), one.log) == ("a.b", choices, ends, log)
    assert list(map(type, (one.low, one.high))) == list(map(type, ends))
    for value in one.extremes:
        assert one.value(one.stored(value)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.b", "KEY=LOW..HIGH"),
        ("ab=1..2", "KEY=LOW..HIGH"),
        ("a.b=", "KEY=LOW..HIGH"),
        ("a.b=3", "nothing to choose"),
        ("a.b=3|3", "nothing to choose"),
        ("a.b=2..1", "2 is not below 1"),
        ("a.b=1..1", "1 is not below 1"),
        ("a.b=0..1:log", "starts above 0"),
        ("a.b=1..2:lin", "may end in :log"),
        ("a.b=x..2", "'x' is no number"),
        ("a.b=nan..2", "'nan' is no number"),
    ],
)
def test_a_search_that_says_nothing_is_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        read_space([text])


def test_a_setting_is_searched_once():
    with pytest.raises(ConfigError, match="a.b is given twice"):
        read_space(["a.b=1..2", "a.b=3|4"])


def test_values_are_written_as_set_takes_them():
    assert [override("a.b", one) for one in (True, 0.5, "x", 3)] == ["a.b=true", "a.b=0.5", 'a.b="x"', "a.b=3"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("tune")
    for name in ("home", "abroad"):
        write_tones(root / name, name=name)
    content = tiny(root, seeds=[0], data={"root": ""}, training={"steps": 2, "evaluate_every": 1})
    content["variants"] = [{"name": "no teacher", "transfer": {"method": "none"}}, {"name": "compressed"}]
    (root / "config.toml").write_text(to_toml(parse(content)), encoding="utf-8")
    return root / "config.toml"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"search": ["transfer.wieght=1..2"]}, "wieght.*weight"),
        ({"search": ["transfer.weight=-1..2"]}, "weight"),
        ({"search": ["student.width=16|0"]}, "width"),
        ({"variant": "compresed"}, "no variant 'compresed'.*compressed"),
        ({"trials": 0}, "--trials of 1 or more"),
        ({"search": []}, "a --search for each"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(config, tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        tune(config, tmp_path / "out", change.pop("search", SEARCH), **change)
    assert not (tmp_path / "out").exists()


def test_without_optuna_it_says_how_to_get_it(config, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"optuna: pip install -e '\.\[tune\]'"):
        tune(config, tmp_path / "out", SEARCH)


@pytest.fixture(scope="module")
def tuned(config, tmp_path_factory):
    pytest.importorskip("optuna")
    out = tmp_path_factory.mktemp("tuned") / "out"
    tune(config, out, SEARCH, trials=1)
    return tune(config, out, SEARCH, trials=3)


def test_the_first_trial_is_the_file_and_the_best_is_the_best(config, tuned):
    trials, start = tuned.trials, load(config)
    (chosen,) = (one for one in start.variants if one.name == "compressed")
    assert trials.loc[0, "transfer.weight"] == chosen.transfer.weight
    assert trials.loc[0, "compressor.dim"] == chosen.compressor.dim
    assert len(trials) == 3 and (trials["state"] == "complete").all() and (trials["students"] == 2).all()
    assert tuned.before == trials.loc[0, "value"]
    assert tuned.value == trials["value"].max()
    row = trials.loc[trials["value"].idxmax()]
    assert tuned.best == {"transfer.weight": row["transfer.weight"], "compressor.dim": row["compressor.dim"]}
    written = load(tuned.folder / "tuned.toml")
    assert (Path(written.data.root) / written.data.train).is_file()
    settings = written.variants[0]
    assert settings.transfer.weight == pytest.approx(row["transfer.weight"])
    assert settings.compressor.dim == row["compressor.dim"]


def test_no_test_clip_is_scored_and_no_further_set_read(tuned):
    stages = {path.name for path in (tuned.folder / "students" / "stages").iterdir()}
    assert "students" in stages and "predictions" not in stages
    datasets = list((tuned.folder / "students" / "stages" / "datasets").iterdir())
    assert len(datasets) == 1
    assert not (tuned.folder / "students" / "scores.csv").exists()


def test_a_score_is_the_mean_of_what_its_students_wrote(config, tuned):
    found = [
        json.loads(path.read_text(encoding="utf-8"))["validation_score"]
        for path in (tuned.folder / "students" / "stages" / "students").glob("*/result.json")
    ]
    assert len(found) == 6
    means = np.add.outer(found, found).ravel() / 2
    for value in tuned.trials["value"]:
        assert np.isclose(means, value).any()


def test_another_search_or_seed_does_not_go_on_from_it(config, tuned, tmp_path):
    with pytest.raises(ConfigError, match="holds a tuning of another file"):
        tune(config, tuned.folder, SEARCH, seed=1)
    (tmp_path / "trials.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"trials\.csv"):
        tune(config, tmp_path, SEARCH)


def test_settings_that_exclude_each_other_cost_a_trial_and_not_the_tuning(config, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    scores = {2: 0.5, 4: 0.7}

    def scored(settings, folder, progress):
        (one,) = settings.variants
        if one.compressor.dim == 4 and len(asked) == 1:
            asked.append("refused")
            raise ConfigError("these two do not go together")
        asked.append("done")
        return {one.name: [scores[one.compressor.dim], scores[one.compressor.dim]]}

    asked = ["start"]
    monkeypatch.setattr(tuning, "validation_scores", scored)
    found = tune(config, tmp_path / "out", SEARCH, trials=8)
    assert found.trials.loc[0, "state"] == "fail" and found.trials.loc[0, "problem"] == "these two do not go together"
    assert np.isnan(found.before) and found.value == found.trials["value"].max()
    assert set(found.trials["value"].dropna()) <= set(scores.values())
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "the trial with the file's own settings failed" in text and "nan" not in text


def test_a_trial_that_was_cut_off_is_tried_again_with_the_same_values(config, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    values = []

    def scored(settings, folder, progress):
        (one,) = settings.variants
        values.append((one.transfer.weight, one.compressor.dim))
        if len(values) == 3:
            raise KeyboardInterrupt
        return {one.name: [0.1 * len(values)]}

    monkeypatch.setattr(tuning, "validation_scores", scored)
    with pytest.raises(KeyboardInterrupt):
        tune(config, tmp_path / "out", SEARCH, trials=4)
    found = tune(config, tmp_path / "out", SEARCH, trials=4)
    assert values[3] == values[2]
    complete = found.trials[found.trials["state"] == "complete"]
    assert len(complete) == 4 and len(values) == 5
