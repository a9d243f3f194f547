"""Manifests without audio are checked, and get settings for a first run: ids with vectors, a table or images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.inputs import write_config, write_set

from embcomp.cli import group
from embcomp.config import load
from embcomp.data.manifest import Manifest
from embcomp.errors import StoreError
from embcomp.pipeline import run
from embcomp.pipeline.row_starter import propose_rows
from embcomp.pipeline.validation import validate


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path / "first")
    write_set(tmp_path / "other", 30, seed=1)
    return tmp_path


def check(root, **about):
    return validate(root / "first/manifest.csv", **about)


def findings(found, level="error") -> dict[str, str]:
    return {one.name: one.text for one in found.findings if one.level == level}


def change(path, **columns):
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def test_good_vectors_and_inputs_have_nothing_that_stops_a_run(root):
    for about in ({"vectors": "emb.npy"}, {"config": load(write_config(root, "table"))}):
        found = check(root, **about)
        assert found.usable and not findings(found, "warning") and not found.audio and found.clips == 60
    assert "8 dimensions" in findings(found, "note")["vectors"]
    assert "4 columns: a, b, c, d" in findings(found, "note")["inputs"]
    images = check(root, config=load(write_config(root, "images")))
    assert findings(images, "note")["inputs"] == "images.npz: images of 1 x 6 x 5"


def test_without_audio_and_without_vectors_the_option_is_named(root):
    found = check(root)
    assert not found.usable and "--vectors FILE" in findings(found)["audio"]


def test_files_that_lack_rows_or_are_missing_are_errors(root):
    assert "no embeddings at" in findings(check(root, vectors="none.npy"))["vectors"]
    np.save(root / "first/emb.npy", np.zeros((59, 8)))
    assert "59 rows, the manifest 60" in findings(check(root, vectors="emb.npy"))["vectors"]
    config = load(write_config(root, "table"), ["transfer.method=none"])
    table = pd.read_csv(root / "first/table.csv")
    table.iloc[1:].to_csv(root / "first/table.csv", index=False)
    assert "lacks 1 of 60 rows" in findings(check(root, config=config))["inputs"]


def test_numbers_that_are_missing_are_named_with_their_rows(root):
    vectors = np.load(root / "first/emb.npy")
    vectors[5, 2] = np.inf
    np.save(root / "first/emb.npy", vectors)
    table = pd.read_csv(root / "first/table.csv").set_index("id")
    table.loc["first7", "c"] = np.nan
    table.to_csv(root / "first/table.csv")
    text = findings(check(root, config=load(write_config(root, "table"))))["unreadable"]
    assert "row 7: first5: its vector" in text and "row 9: first7: column 'c' of table.csv is empty" in text


def test_repeats_across_groups_and_labels_are_found(root):
    vectors = np.load(root / "first/emb.npy")
    vectors[3] = vectors[0]  # of another group
    vectors[1] = vectors[2]  # of another class
    np.save(root / "first/emb.npy", vectors)
    found = check(root, vectors="emb.npy")
    assert "whose vector is in more than one group: 'first0'" in findings(found)["duplicates"]
    assert "the same vector has different labels" in findings(found, "warning")["labels disagree"]


def test_a_column_that_holds_the_answer_or_nothing_is_pointed_at(root):
    labels = {name: number % 3 for number, name in enumerate(f"first{n}" for n in range(60))}
    ids = pd.read_csv(root / "first/table.csv")["id"]
    change(root / "first/table.csv", hidden=[labels[name] for name in ids], same=1.5)
    warned = findings(check(root, config=load(write_config(root, "table"))), "warning")
    assert "hidden" in warned["answer"] and "same" in warned["constant"]


def called(*arguments):
    done = CliRunner().invoke(group, [str(argument) for argument in arguments])
    return done.exit_code, f"{done.output}{done.exception or ''}"


@pytest.mark.parametrize(("inputs", "kind"), [("", "none"), ("table.csv", "table"), ("images.npz", "images")])
def test_settings_for_a_first_run_are_read_back_and_checked(root, inputs, kind):
    options = ("--inputs", inputs) if inputs else ()
    code, text = called("init", root / "first", "--vectors", "emb.npy", *options, "--cross", root / "other")
    assert code == 0 and "embcomp validate" in text
    config = load(root / "first/embcomp.toml")
    assert (config.data.inputs, config.data.cross, len(config.variants)) == (
        kind,
        ("../other/manifest.csv",),
        3 + bool(inputs),
    )
    code, text = called("validate", root / "first/manifest.csv", "--config", root / "first/embcomp.toml")
    assert code == 0 and "60 rows read" in text
    assert called("init", root / "first", "--vectors", "emb.npy")[0]  # nothing is written over
    if kind == "none":
        assert {*run(config, root / "run").scores["test_dataset"]} == {"first", "other"}


def test_files_are_found_from_where_one_is(root, monkeypatch):
    monkeypatch.chdir(root)
    manifest = Manifest.read("first/manifest.csv")
    start = propose_rows(manifest, "first/manifest.csv", ".", "first/emb.npy")
    assert start.vectors == "emb.npy" or start.vectors == "first/emb.npy"
    (root / "first/emb.npy").rename(root / "all.npy")
    start = propose_rows(manifest, "first/manifest.csv", ".", "all.npy")
    assert (root / "first" / start.vectors).resolve() == root / "all.npy"
    with pytest.raises(StoreError, match="no embeddings at"):
        propose_rows(manifest, "first/manifest.csv", ".", "none.npy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--inputs", "table.csv"), "add --vectors FILE"),
        (("--vectors", "emb.npy", "--seconds", 2), "--seconds is for audio"),
        (("--vectors", "emb.npy", "--inputs", "none.csv"), "no table and no images at"),
    ],
)
def test_options_that_do_not_go_together_are_refused(root, options, message):
    code, text = called("init", root / "first/manifest.csv", *options)
    assert code and message in text and not (root / "first/embcomp.toml").exists()


def test_of_two_columns_the_group_is_the_one_that_is_named(root):
    change(
        root / "first/manifest.csv",
        group=None,
        speaker=[f"s{n % 7}" for n in range(60)],
        machine=[n % 5 for n in range(60)],
    )
    command = ("init", root / "first", "--vectors", "emb.npy")
    code, text = called(*command)
    assert code and "--group-column NAME" in text
    code, text = called(*command, "--group-column", "speaker")
    assert code == 0, text
    config = load(root / "first/embcomp.toml")
    assert config.data.group_column == "speaker"
    assert validate(root / "first/manifest.csv", config=config, group_column="speaker").usable
    for options in (("--vectors", "emb.npy", "--teacher", "librosa"), ("--group-column", "speaker")):
        assert called("init", root / "first/manifest.csv", "--config", root / "new.toml", *options)[0]
