"""A run on stored vectors alone: compressors compared by probes, with everything a run of students has but the students."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from embcomp.cli import group
from embcomp.config import load
from embcomp.errors import ConfigError, EmbcompWarning, ManifestError, StoreError
from embcomp.pipeline import run
from embcomp.report import write_report

CONFIG = """
seeds = [0, 1]
workers = 1
[data]
train = "home/manifest.csv"
cross = ["other/manifest.csv"]
inputs = "none"
[split]
folds = 2
[evaluation]
bootstrap = 50
[teacher]
spec = "store:emb.npy"
[compressor]
dim = 3
[[variants]]
name = "task"
[[variants]]
name = "PCA"
compressor.method = "pca"
compressor.objective = "reconstruction"
[[variants]]
name = "raw"
transfer.method = "embedding"
"""


def write_set(folder, clips=60, shift=0.0, seed=0, column="id"):
    """Vectors of three classes and 10 groups, with a manifest that names no audio."""
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % 3
    folder.mkdir()
    vectors = rng.normal(size=(clips, 8)) + 2 * np.eye(8)[labels] + shift
    np.save(folder / "emb.npy", vectors.astype(np.float32))
    rows = [f"{folder.name}{number},c{label},g{number // 3 % 10}" for number, label in enumerate(labels)]
    (folder / "manifest.csv").write_text("\n".join([f"{column},label,group", *rows]) + "\n")
    return folder


@pytest.fixture
def sets(tmp_path):
    write_set(tmp_path / "home")
    write_set(tmp_path / "other", 30, shift=1.5, seed=1)
    (tmp_path / "c.toml").write_text(CONFIG)
    return tmp_path


def test_compressors_are_compared_by_probes(sets):
    found = run(load(sets / "c.toml"), sets / "run")
    scores = pd.read_csv(sets / "run/scores.csv", keep_default_na=False)
    assert set(scores["variant"]) == {
        "majority class",
        *("raw", "task", "PCA"),
        *("k-NN: raw", "k-NN: task", "k-NN: PCA"),
    }
    assert set(scores["setting"]) == {"in-domain", "cross-dataset", "adapted"}
    assert {*scores.loc[scores["variant"] == "PCA", "vectors"]} == {"target"} and set(scores["method"]) == {"probe"}
    summary = found.summary.set_index(["variant", "setting"])["mean"]
    assert summary["task", "in-domain"] > 0.6 and summary["majority class", "in-domain"] == pytest.approx(1 / 3)
    assert not (sets / "run/stages/students").exists() and not (sets / "run/stages/features").exists()


def test_differences_are_paired_with_the_embedding_as_it_is(sets):
    run(load(sets / "c.toml"), sets / "run")
    table = pd.read_csv(sets / "run/comparisons.csv")
    pairs = {("task", "raw"), ("PCA", "raw"), ("k-NN: task", "k-NN: raw"), ("k-NN: PCA", "k-NN: raw")}
    assert set(zip(table["variant"], table["baseline"])) == pairs
    claims = json.loads((sets / "run/metrics.json").read_text())["claim"]
    assert "home, unseen groups, linear probe" in claims and "home to other, adapted, nearest neighbours" in claims
    assert not any("student" in text for text in claims.values())


def test_without_such_a_variant_the_embedding_is_probed_all_the_same(sets):
    text = CONFIG[: CONFIG.index('[[variants]]\nname = "raw"')]
    (sets / "c.toml").write_text(text)
    run(load(sets / "c.toml"), sets / "run")
    assert set(pd.read_csv(sets / "run/comparisons.csv")["baseline"]) == {
        "raw store:emb.npy",
        "k-NN: raw store:emb.npy",
    }


def test_the_page_speaks_of_no_student(sets):
    run(load(sets / "c.toml"), sets / "run")
    write_report([sets / "run"], sets / "page.html")
    text = (sets / "page.md").read_text()
    assert "No student was trained" in text and "| PCA |" in text and "round marks" not in text
    assert "no vector is in two groups" in text
    assert "training curves" not in text and "audio" not in text.split("Resolved settings")[0]


def test_a_second_call_has_nothing_to_do(sets):
    first = run(load(sets / "c.toml"), sets / "run")
    again = run(load(sets / "c.toml"), sets / "run")
    assert first.made and not again.made
    pd.testing.assert_frame_equal(first.scores, again.scores)


def test_no_input_is_named_where_no_audio_is_there_and_that_is_said(sets):
    (sets / "c.toml").write_text(CONFIG.replace('inputs = "none"\n', ""))
    with pytest.warns(EmbcompWarning, match="no student is trained"):
        run(load(sets / "c.toml"), sets / "run")
    assert load(sets / "run/config.toml").data.inputs == "none"


def test_the_same_vector_in_two_groups_is_refused(sets):
    vectors = np.load(sets / "home/emb.npy")
    vectors[3] = vectors[0]
    np.save(sets / "home/emb.npy", vectors)
    with pytest.raises(ManifestError, match="in more than one group: 'home0'"):
        run(load(sets / "c.toml"), sets / "run")


def test_a_vector_of_the_training_set_in_another_is_refused(sets):
    other = np.load(sets / "other/emb.npy")
    other[4] = np.load(sets / "home/emb.npy")[7]
    np.save(sets / "other/emb.npy", other)
    with pytest.raises(ManifestError, match="'other4'.*'home7'"):
        run(load(sets / "c.toml"), sets / "run")


def test_vectors_that_are_not_finite_are_named_or_left_out(sets):
    vectors = np.load(sets / "home/emb.npy")
    vectors[5, 2] = np.nan
    np.save(sets / "home/emb.npy", vectors)
    with pytest.raises(StoreError, match="row 7: home5: its vector in emb.npy is NaN"):
        run(load(sets / "c.toml"), sets / "run")
    found = run(load(sets / "c.toml", ["data.skip_bad=true"]), sets / "run")
    assert [clip.row for clip in found.bad] == [7]
    assert found.scores.query("setting == 'in-domain' and seed == 'all'")["n"].max() == 59


@pytest.mark.parametrize(
    "change, message",
    [
        ('variants.0.transfer.method="none"', "no stored vectors to probe"),
        ('transfer.schedule="joint"', "trains its compressor with a student"),
        ('teacher.spec="kmeans"', "needs audio; take store:PATH"),
        ('evaluation.shifts=["noise:20"]', "changes clips that students get"),
        ("evaluation.probe=false", "or nothing is scored"),
        ('data.unlabelled=["other/manifest.csv"]', "is for the loss of students"),
    ],
)
def test_settings_that_need_a_student_are_refused_first(sets, change, message):
    if change.startswith("variants"):
        (sets / "c.toml").write_text(CONFIG + '[[variants]]\nname = "none"\ntransfer.method = "none"\n')
        change = "threads=1"
    with pytest.raises(ConfigError, match=message):
        run(load(sets / "c.toml", [change]), sets / "run")
    assert not (sets / "run").exists()


def test_a_target_larger_than_a_fold_allows_is_made_smaller_and_that_is_said(sets):
    with pytest.warns(EmbcompWarning, match="allow 8 components, not compressor.dim = 64; 8 are used"):
        found = run(load(sets / "c.toml", ["compressor.dim=64"]), sets / "run")
    assert {*found.scores.loc[found.scores["variant"] == "PCA", "dim"]} == {8}


def test_sets_in_one_folder_are_told_apart_by_their_names(sets):
    for name in ("home", "other"):
        (sets / f"{name}/emb.npy").rename(sets / f"{name}.npy")
        (sets / f"{name}/manifest.csv").rename(sets / f"{name}.csv")
    text = CONFIG.replace("/manifest.csv", ".csv").replace("store:emb.npy", "store:{dataset}.npy")
    (sets / "c.toml").write_text(text)
    assert set(run(load(sets / "c.toml"), sets / "run").scores["test_dataset"]) == {"home", "other"}


def test_every_command_takes_a_file_of_vectors_and_a_table_of_ids(sets):
    def called(*arguments):
        done = CliRunner().invoke(group, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.output

    manifest, file = sets / "home/manifest.csv", sets / "home/emb.npy"
    assert "60 rows, 8 dimensions" in called("embed", manifest, "--teacher", f"store:{file}", "--out", sets / "s")
    called("compress", file, "--manifest", manifest, "--dim", 2, "--out", sets / "c")
    called("compress", sets / "s", "--manifest", manifest, "--dim", 2, "--out", sets / "c2")
    assert (sets / "c/weights.safetensors").read_bytes() == (sets / "c2/weights.safetensors").read_bytes()
    called("apply", sets / "c", file, "--manifest", manifest, "--out", sets / "t")
    assert "home3," in (sets / "t/index.csv").read_text()
    called("apply", sets / "c", file, "--out", sets / "numbered")
    called("sweep", file, "--manifest", manifest, "--dims", "2", "--methods", "pca", "--folds", 3, "--out", sets / "w")
