"""Every set against every other, each left out once, and the label maps between them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.cli import group
from embcomp.config import parse, to_toml
from embcomp.data.labels import MAPS, find_label_map, map_labels, read_label_map
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, ManifestError
from embcomp.evaluation.scores import summarise
from embcomp.pipeline.matrix import matrix

SHARED = ["cello", "clarinet", "flute", "guitar", "organ", "piano", "saxophone", "trumpet", "violin", "voice"]
IRMAS = ["cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi"]
OPENMIC = [
    *SHARED, "accordion", "banjo", "bass", "cymbals", "drums", "mallet_percussion", "mandolin", "synthesizer", "trombone",
    "ukulele",
]  # fmt: skip


def settings(root: Path, **sections) -> dict:
    content = tiny(root, seeds=[0], evaluation={"bootstrap": 20}, compressor={"dim": 2}, **sections)
    content["variants"] = [{"name": "compressed"}]
    content["data"]["cross"] = []
    return content


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[Path]:
    """Three sets; the second has a class of its own, and the third other names for the two that are shared."""
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "one", groups=4, clips=1, name="one")
    write_tones(root / "two", groups=4, clips=1, name="two", seed=5, classes=("high", "low", "middle"))
    write_tones(root / "three", groups=4, clips=1, name="three", seed=9, classes=("squeak", "rumble"))
    (root / "map.csv").write_text("from,to\nsqueak,high\nrumble,low\n")
    return [root / name / "manifest.csv" for name in ("one", "two", "three")]


@pytest.fixture(scope="module")
def finished(sets, tmp_path_factory):
    content = settings(sets[0].parents[1])
    content["data"]["label_map"] = "map.csv"
    return matrix(parse(content), sets, tmp_path_factory.mktemp("matrix") / "out"), content


def test_every_set_is_trained_on_tested_on_and_left_out(finished):
    table = finished[0].scores
    names = ("one", "two", "three")
    pairs, rest = (table[table["protocol"] == name] for name in ("pairs", "one left out"))
    for setting in ("cross-dataset", "adapted"):
        found = pairs[pairs["setting"] == setting]
        expected = {(train, test) for train in names for test in names if train != test}
        assert set(zip(found["train_dataset"], found["test_dataset"])) == expected
        found = rest[rest["setting"] == setting]
        assert set(zip(found["train_dataset"], found["test_dataset"])) == {
            ("two+three", "one"), ("one+three", "two"), ("one+two", "three")
        }  # fmt: skip
    home = pairs[pairs["setting"] == "in-domain"]
    assert set(zip(home["train_dataset"], home["test_dataset"])) == {(name, name) for name in names}


def test_every_cell_is_about_the_shared_labels_and_what_is_left_out_is_counted(finished):
    result = finished[0]
    assert result.classes == ("high", "low")
    assert result.left_out == {"one": {}, "two": {"middle": 4}, "three": {}}
    floor = result.scores[result.scores["variant"] == "majority class"]
    assert (floor.loc[floor["metric"] == "balanced_accuracy", "value"] == 0.5).all()
    counts = result.scores[(result.scores["setting"] == "cross-dataset") & (result.scores["protocol"] == "pairs")]
    assert set(counts["n"]) == {8}


def test_groups_of_different_sets_stay_apart(finished):
    pooled = Manifest.read(finished[0].folder / "manifests/one+two.csv", allow_outside=True)
    assert len(pooled) == len(set(pooled.groups)) == 16
    assert all(group.startswith(f"{name}/") for group, name in zip(pooled.groups, pooled.table["dataset"]))
    assert pooled.name == "one+two" and all(pooled.audio_path(row).is_file() for row in range(16))


def test_the_tables_never_mix_the_two_settings(finished):
    result = finished[0]
    text = (result.folder / "matrix.md").read_text()
    trained, adapted = text.split("## Adapted to the test set")
    assert "## As trained" in trained and "- two: 4 clips labelled" in adapted
    summary = summarise(result.scores[result.scores["protocol"] == "pairs"])
    summary = summary[(summary["variant"] == "compressed") & (summary["train_dataset"] == "one")].set_index(
        ["setting", "test_dataset"]
    )["mean"]
    for half, setting in ((trained, "cross-dataset"), (adapted, "adapted")):
        row = next(line for line in half.splitlines() if line.startswith("| compressed | one |"))
        cells = [cell.strip() for cell in row.split("|")[3:6]]
        assert cells[1:] == [f"{summary[setting, name]:.3f}" for name in ("two", "three")]
        assert cells[0] == (f"*{summary['in-domain', 'one']:.3f}*" if half is trained else "–")
        assert "| guessing | | 0.500 | 0.500 | 0.500 |" in half and "ceiling, in-domain" in half


def test_the_table_is_the_file_and_a_second_call_makes_nothing(finished, sets):
    result, content = finished
    read = pd.read_csv(result.folder / "matrix.csv")
    np.testing.assert_allclose(read["value"], result.scores["value"], atol=1e-5)
    assert json.loads((result.folder / "matrix.json").read_text())["classes"] == ["high", "low"]
    stages = {path: path.stat().st_mtime_ns for path in result.folder.glob("*/stages/**/*.safetensors")}
    again = matrix(parse(content), sets, result.folder)
    pd.testing.assert_frame_equal(again.scores, result.scores)
    assert stages == {path: path.stat().st_mtime_ns for path in result.folder.glob("*/stages/**/*.safetensors")}


def test_two_sets_on_the_command_line(sets, tmp_path):
    content = settings(sets[0].parents[1])
    (tmp_path / "tiny.toml").write_text(to_toml(parse(content)))
    arguments = [str(tmp_path / "tiny.toml"), *map(str, sets[:2]), "--out", str(tmp_path / "out")]
    quick = ["--set", "evaluation.probe=false", "--set", "training.steps=2", "--set", "evaluation.reestimate=false"]
    done = CliRunner().invoke(group, ["matrix", *arguments, *quick])
    assert done.exit_code == 0, done.output
    assert "| variant | trained on | one | two |" in done.output and "all sets but" not in done.output
    assert "Adapted" not in done.output
    assert set(pd.read_csv(tmp_path / "out/matrix.csv")["protocol"]) == {"pairs"}


def test_misuse_is_told_in_words(sets, tmp_path):
    config = parse(settings(sets[0].parents[1]))
    with pytest.raises(ManifestError, match="two data sets or more, not 1"):
        matrix(config, sets[:1], tmp_path)
    with pytest.raises(ManifestError, match="another data set is called 'one'"):
        matrix(config, [sets[0], sets[0]], tmp_path)
    with pytest.raises(ManifestError, match=r"share 0 labels \(one: high, low; three: rumble, squeak\)"):
        matrix(config, [sets[0], sets[2]], tmp_path)
    stored = parse(settings(sets[0].parents[1], teacher={"spec": "store:vectors.npy"}))
    with pytest.raises(ConfigError, match="belong to one manifest"):
        matrix(stored, sets[:2], tmp_path)
    stray = tmp_path / "stray"
    stray.mkdir()
    (stray / "manifest.csv").write_text("path,label\n../a.wav,high\nb.wav,low\n")
    with pytest.raises(ManifestError, match=r"'../a.wav' lies outside"):
        matrix(config, [sets[0], stray / "manifest.csv"], tmp_path)
    assert not (tmp_path / "manifests").exists()


def test_the_map_of_instruments_takes_both_vocabularies_to_the_ten():
    mapping = read_label_map(find_label_map("irmas-openmic"))
    assert sorted({mapping[name] for name in IRMAS}) == SHARED
    assert sorted({mapping[name] for name in OPENMIC} - {""}) == SHARED
    assert all(mapping[name] == name for name in SHARED) and mapping["gac"] == mapping["gel"] == "guitar"
    assert set(mapping) == {*IRMAS, *OPENMIC}
    mapped = map_labels(["gac", "cel", "banjo"], SHARED, mapping)
    assert mapped.left_out == {"banjo": 1} and [SHARED[number] for number in mapped.labels.index] == ["guitar", "cello"]


def test_the_map_back_drops_what_is_two_labels():
    mapping = read_label_map(find_label_map("openmic-irmas"))
    assert set(mapping) == set(OPENMIC) and mapping["guitar"] == ""
    forth = read_label_map(find_label_map("irmas-openmic"))
    kept = {old: new for old, new in mapping.items() if new}
    assert set(kept.values()) == set(IRMAS) - {"gac", "gel"} and all(forth[new] == old for old, new in kept.items())


def test_a_label_map_is_a_name_or_a_file(tmp_path):
    assert find_label_map("irmas-openmic", tmp_path).parent == MAPS
    assert find_label_map("map.csv", tmp_path) == tmp_path / "map.csv"
    with pytest.raises(ManifestError, match="no label map at .*; did you mean 'irmas-openmic'"):
        find_label_map("irmas-openmc", tmp_path)
    with pytest.raises(ManifestError, match="no label map at"):
        read_label_map(find_label_map("map.csv", tmp_path))
