"""Results for programs: one JSON object on standard output, whatever the numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.pools import drop_labels
from helpers.runs import tiny
from helpers.stores import write
from helpers.tones import write_tones

from embcomp.cli import group, machine
from embcomp.cli.evaluate import evaluate
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


WITH_JSON = {
    *("doctor", "evaluate", "export", "matrix", "plan", "predict", "profile", "run", "show"),
    *("suggest", "sweep", "teachers", "tune", "validate", "manifest folder", "store info"),
}


def all_commands(command=group, name=""):
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    if command.invoke_without_command:
        yield name, command
    for one in command.list_commands(context):
        yield from all_commands(command.get_command(context, one), f"{name} {one}".strip())


def test_commands_with_results_have_it_and_the_page_names_them():
    found = {name for name, command in all_commands() if any("--json" in one.opts for one in command.params)}
    assert {name for name in found if not name.startswith("manifest ")} | {"manifest folder"} == WITH_JSON
    text = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z ]+)`", text.partition("`--json` prints")[2].partition("has no number")[0]))
    assert named == {name.removesuffix(" folder") for name in WITH_JSON}


@pytest.fixture(scope="module")
def printed(results, tmp_path_factory):
    """What the other commands print of the same student, by their names."""
    root, _, _ = results
    out = tmp_path_factory.mktemp("printed")
    student = str(next((root / "run" / "stages" / "students").iterdir()))
    pool = drop_labels(write_tones(out / "pool", groups=2, clips=2), lambda number: number % 2)
    clip = str(pool.parent / pool.read_text(encoding="utf-8").splitlines()[1].split(",")[0])
    write(out / "store")
    calls = {
        "validate": ["validate", str(root / "home" / "manifest.csv")],
        "doctor": ["doctor"],
        "show": ["show", clip, "--out", str(out / "clip.png")],
        "suggest": ["suggest", student, str(pool), "--n", "2", "--out", str(out / "pool" / "next.csv")],
        "predict": ["predict", student, clip],
        "profile": ["profile", student, "--runtime", "eager", "--repeats", "1"],
        "export": ["export", student, "--to", "onnx", "--out", str(out / "student.onnx")],
        "store": ["store", "info", str(out / "store")],
        "teachers": ["teachers"],
    }
    done = {name: CliRunner().invoke(group, [*words, "--json"]) for name, words in calls.items()}
    assert not [(name, one.stderr) for name, one in done.items() if one.exit_code]
    return {name: json.loads(one.stdout) for name, one in done.items()}


def test_each_prints_its_result_and_nothing_else(printed):
    assert printed["validate"]["usable"] and printed["validate"]["clips"] == printed["validate"]["decoded"] > 0
    assert {one["level"] for one in printed["validate"]["findings"]} <= {"error", "warning", "note"}
    assert {"name", "state", "found", "fix"} == set(printed["doctor"]["findings"][0])
    assert printed["show"]["kind"] == "clip" and printed["show"]["files"][0].endswith("clip.png")
    assert len(printed["suggest"]["clips"]) == 2 and printed["suggest"]["clips"][0]["label"] == ""
    assert printed["predict"][0]["label"] and printed["profile"]["models"][0]["runtime"] == "eager"
    assert printed["export"]["parity"]["failures"] == [] and printed["export"]["model"]["labels"]
    assert printed["store"]["rows"] == 10 and printed["store"]["dtype"] == "float32"
    assert {"teachers", "catalogue"} == set(printed["teachers"])


def test_predict_has_one_format_at_a_time(tmp_path):
    done = CliRunner().invoke(group, ["predict", str(tmp_path), "a.wav", "--json", "--format", "csv"])
    assert done.exit_code == 2 and "leave out --format csv" in done.output


def test_one_of_a_kind_is_not_written_as_several(tmp_path):
    manifest = write_tones(tmp_path, groups=4, clips=3)
    lines = manifest.read_text(encoding="utf-8").splitlines()
    (tmp_path / lines[1].split(",")[0]).write_bytes(b"")
    done = CliRunner().invoke(group, ["validate", str(manifest)])
    assert done.exit_code == 1 and re.search(r"^1 error, \d+ warnings?, \d+ notes?; ", done.output, re.M), done.output
    assert not re.findall(r"\b1 (?:[a-z]+s|classes)\b(?! labelled)", done.output)
