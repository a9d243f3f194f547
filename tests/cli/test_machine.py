"""Results for programs: one JSON object on standard output, whatever the numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.cli import machine
from embcomp.cli.evaluate import evaluate
from embcomp.cli.matrix import matrix
from embcomp.cli.run import run
from embcomp.config import parse, to_toml
from embcomp.errors import BadClip


def test_what_json_has_no_number_for_is_null():
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": ["x", None]})
    assert machine.plain(machine.rows(table)) == [{"a": 1, "b": 0.5, "c": "x"}, {"a": 2, "b": None, "c": None}]
    assert machine.plain({"x": np.inf, "y": (np.int64(3), np.bool_(True), np.float32(0.5))}) == {
        "x": None,
        "y": [3, True, 0.5],
    }


def test_records_are_objects_and_paths_are_text(tmp_path):
    (found,) = machine.plain([BadClip(3, "a.wav", "is empty")])
    assert found["row"] == 3 and found["path"] == "a.wav"
    assert machine.plain(tmp_path) == str(tmp_path)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What run and evaluate print of the same student."""
    root = tmp_path_factory.mktemp("json")
    for seed, name in enumerate(("home", "abroad")):
        write_tones(root / name, name=name, seed=seed)
    variants = [{"name": "no teacher", "transfer": {"method": "none"}}]
    content = tiny(root, seeds=[0], split={"folds": 0, "rotate": True, "validation": 0.5}, variants=variants)
    (root / "config.toml").write_text(to_toml(parse(content)), encoding="utf-8")
    ran = CliRunner().invoke(run, [str(root / "config.toml"), "--out", str(root / "run"), "--json"])
    assert ran.exit_code == 0, ran.stderr
    student = next((root / "run" / "stages" / "students").iterdir())
    words = [str(student), str(root / "abroad" / "manifest.csv"), "--out", str(root / "scores.csv"), "--json"]
    scored = CliRunner().invoke(evaluate, words)
    assert scored.exit_code == 0, scored.stderr
    return root, json.loads(ran.stdout), json.loads(scored.stdout)


def test_a_run_prints_its_summary(results):
    root, ran, _ = results
    assert ran["folder"] == str(root / "run") and ran["computed"] > 0 and ran["left_out"] == []
    assert {row["variant"] for row in ran["summary"]} >= {"no teacher"}


def test_evaluate_prints_the_rows_of_its_file(results):
    root, _, scored = results
    table = pd.read_csv(root / "scores.csv")
    assert [row["metric"] for row in scored["scores"]] == list(table["metric"])
    np.testing.assert_allclose([row["value"] for row in scored["scores"]], table["value"], rtol=1e-5)
    assert scored["not_scored"] == {"abroad": {"left_out": {}, "classes_without_clips": []}}


def test_json_is_not_for_a_repeated_run(results):
    root, _, _ = results
    done = CliRunner().invoke(run, ["--from", str(root / "run"), "--out", str(root / "again"), "--json"])
    assert done.exit_code == 2 and "--json and --watch are for CONFIG" in done.stderr


def test_commands_with_results_have_it():
    from embcomp.cli.sweep import sweep
    from embcomp.cli.tune import tune

    for command in (run, evaluate, matrix, sweep, tune):
        assert any("--json" in option.opts for option in command.params), command.name
