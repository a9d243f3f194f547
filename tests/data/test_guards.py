"""Planted leaks, each caught by name: in the functions, in an evaluation, and in a whole run."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.settings import student_settings
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.compression import Compressor
from embcomp.config import AudioConfig, parse
from embcomp.data.guards import (
    joined_groups,
    refuse_duplicates,
    refuse_seen,
    refuse_shared_clips,
    refuse_shared_groups,
    shared_clips,
)
from embcomp.data.manifest import Manifest
from embcomp.data.splits import column_folds
from embcomp.errors import DataError, ManifestError
from embcomp.evaluation.scores import evaluate
from embcomp.pipeline import run
from embcomp.students.classifier import Classifier


def test_the_same_content_under_two_names_is_found():
    train, test = {"a.wav": "1", "b.wav": "2"}, {"c.wav": "3", "d.wav": "2"}
    assert shared_clips(train, test) == [("b.wav", "d.wav")]
    assert shared_clips(train, {"c.wav": "3"}) == shared_clips({}, test) == []
    with pytest.raises(
        ManifestError, match=r"fold 1: .* share 1 clip by content: 'd.wav' is the same audio as 'b.wav'"
    ):
        refuse_shared_clips(train, test, "fold 1: the fit and test clips")
    refuse_shared_clips(train, {"c.wav": "3"}, "fold 1")


def test_shared_groups_are_named():
    with pytest.raises(ManifestError, match="split 'x' shares 2 groups between train and test, 'ann' first.*Mend it"):
        refuse_shared_groups(["bob", "ann", "cid"], ["ann", "bob"], "split 'x'", "Mend it")
    refuse_shared_groups(["ann"], ["bob"], "split 'x'", "")


def test_what_was_seen_is_named_by_the_clip():
    seen = frozenset({"1", "9"})
    with pytest.raises(DataError, match=r"the scaler was fitted on 1 of these clips, 'b.wav' first"):
        refuse_seen("the scaler was fitted on", seen.intersection, {"a.wav": "2", "b.wav": "1"})
    refuse_seen("the scaler was fitted on", seen.intersection, {"a.wav": "2"})


def test_repeats_are_refused_across_sides_and_counted_within():
    ids, hashes = ["a", "b", "c", "d"], ["1", "1", "2", "1"]
    assert refuse_duplicates(ids, hashes, ["g", "g", "h", "g"], "set", "group", "") == 2
    with pytest.raises(
        ManifestError, match=r"set has 1 clip .* 'a' \(group 'g'\) is the same audio as 'd' \(group 'h'\)"
    ):
        refuse_duplicates(ids, hashes, ["g", "g", "h", "h"], "set", "group", "Keep one")


def test_parts_too_short_to_overlap_are_the_same_audio_if_they_are_the_same_part():
    keys = ["f#1-1.0005"] * 3
    with pytest.raises(ManifestError, match=r"'a' \(group 'g'\) is the same audio as 'b' \(group 'h'\)"):
        refuse_duplicates(["a", "b", "c"], keys, ["g", "h", "g"], "set", "group", "")


@pytest.mark.parametrize("seed", range(5))
def test_joined_groups_are_the_connected_ones(seed):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    group, content = rng.integers(0, 12, 30), rng.integers(0, 25, 30)
    joined = joined_groups([f"g{number:02}" for number in group], [str(number) for number in content])
    edges = coo_array((np.ones(30), (group, 12 + content)), shape=(37, 37))
    component = connected_components(edges, directed=False)[1][group]
    assert len(set(zip(joined, component))) == len(set(joined)) == len(set(component))
    assert set(joined) <= {f"g{number:02}" for number in group}


SECTIONS = {
    "name": "guarded",
    "seeds": [0],
    "workers": 1,
    "audio": {"seconds": 0.4, "n_mels": 24},
    "split": {"folds": 2, "validation": 0.5},
    "teacher": {"centroids": 8, "whitened": 16, "patches": 1000},
    "compressor": {"dim": 4},
    "student": {"width": 16, "embedding": 16},
    "training": {"steps": 4, "batch_size": 8, "evaluate_every": 4, "freq_mask": 2},
    "evaluation": {"bootstrap": 20, "probe": False},
}


def settings(root, **sections):
    data = {"root": str(root), "train": "home/manifest.csv", **sections.pop("data", {})}
    return parse({**SECTIONS, "data": data, **sections})


@pytest.fixture
def home(tmp_path):
    write_tones(tmp_path / "home", groups=4, clips=2, name="home")
    return tmp_path


def rename_a_clip(home, other_group=True):
    """Copy the first clip over the last one of its class, in another group or its own."""
    table = pd.read_csv(home / "home/manifest.csv")
    same = table[(table["label"] == table["label"][0]) & ((table["group"] != table["group"][0]) == other_group)]
    first, other = table["path"][0], same["path"].iloc[-1]
    shutil.copy(home / "home" / first, home / "home" / other)
    return first, other


def test_a_clip_renamed_into_another_group_is_caught(home, tmp_path):
    first, other = rename_a_clip(home)
    with pytest.raises(ManifestError, match="is in more than one group") as caught:
        run(settings(home), tmp_path / "out")
    assert first in str(caught.value) and other in str(caught.value)
    assert not (tmp_path / "out/stages/features").exists()


def test_joined_groups_keep_a_renamed_clip_on_one_side(home, tmp_path):
    first, other = rename_a_clip(home)
    result = run(settings(home, data={"duplicates": "join"}), tmp_path / "out")
    for path in (result.folder / "stages/splits").iterdir():
        split = json.loads(path.read_text())
        sides = [name for name in ("fit", "validation", "test") if {first, other} & set(split[name])]
        assert len(sides) == 1
    guards = json.loads((result.folder / "metrics.json").read_text())["guards"]
    assert guards["joined_groups"] == 1 and guards["duplicate_clips"] == 1
    assert "1 group holds audio of another" in (result.folder / "report.md").read_text()


def test_the_same_speaker_on_both_sides_of_a_published_split_is_caught(home, tmp_path):
    table = pd.read_csv(home / "home/manifest.csv")
    table.loc[table["group"] == table["group"][2], "split"] = ["train", "test"]
    table.to_csv(home / "home/manifest.csv", index=False)
    published = {"by": "column", "validation": 0.5, "test": ["test"]}
    with pytest.raises(ManifestError, match=f"split 'test' shares 1 group .* '{table['group'][2]}' first"):
        run(settings(home, split=published), tmp_path / "out")
    manifest = Manifest.read(home / "home/manifest.csv")
    with pytest.raises(ManifestError, match="shares 1 group"):
        column_folds(manifest.splits, manifest.groups)


def test_shared_groups_that_were_accepted_are_reported(home, tmp_path):
    table = pd.read_csv(home / "home/manifest.csv")
    table.loc[table["group"] == table["group"][2], "split"] = ["train", "test"]
    table.to_csv(home / "home/manifest.csv", index=False)
    published = {"by": "column", "validation": 0.5, "test": ["test"], "allow_shared_groups": True}
    variants = [{"name": "none", "transfer": {"method": "none"}}]
    result = run(settings(home, split=published, variants=variants), tmp_path / "out")
    assert json.loads((result.folder / "metrics.json").read_text())["guards"]["shared_groups"] == 1
    assert "1 group is in both training and test clips" in (result.folder / "report.md").read_text()


def test_a_compressor_fitted_on_everything_is_caught_in_a_run(home, tmp_path):
    result = run(settings(home), tmp_path / "out")
    guards = json.loads((result.folder / "metrics.json").read_text())["guards"]
    assert {name: guards[name] for name in ("shared_clips", "shared_groups", "compressor_seen_test", "student_seen_test")} == {
        "shared_clips": 0, "shared_groups": 0, "compressor_seen_test": 0, "student_seen_test": 0
    }  # fmt: skip
    assert any("no compressor was fitted" in words for words in guards["checked"])
    assert "Leak guards passed" in (result.folder / "report.md").read_text()
    hashes = Clips(Manifest.read(home / "home/manifest.csv"), 16_000, 0.4).hashes()
    planted = next((result.folder / "stages/compressors").iterdir())
    width = Compressor.load(planted).n_features_in_
    shutil.rmtree(planted)
    rows = np.random.default_rng(0).normal(size=(len(hashes), width))
    Compressor(4, method="pca").fit(rows, ids=hashes).save(planted)
    with pytest.raises(DataError, match=r"the compressor .* was fitted on 8 of these clips, 'audio/"):
        run(settings(home), tmp_path / "out")


def test_a_compressor_fitted_on_everything_is_caught_in_an_evaluation(tones, tmp_path):
    manifest = Manifest.read(tones)
    student = Classifier.new(["high", "low"], AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    hashes = Clips(manifest, 16_000, 0.4).hashes()
    rows = np.random.default_rng(0).normal(size=(24, 8))
    everything, half = (Compressor(4, method="pca").fit(rows[:n], ids=hashes[:n]) for n in (24, 12))
    unseen = manifest.select(np.arange(12, 24))
    assert len(evaluate(student, unseen, cache=tmp_path / "one", compressor=half).table)
    with pytest.raises(DataError, match="the compressor of its targets was fitted on 12 of these clips"):
        evaluate(student, unseen, cache=tmp_path / "two", compressor=everything)
    assert len(evaluate(student, unseen, cache=tmp_path / "two", compressor=everything, allow_seen=True).table)


def test_a_further_set_with_a_training_clip_is_caught_by_both_names(home, tmp_path):
    write_tones(home / "abroad", groups=2, clips=2, name="abroad", seed=5)
    first = pd.read_csv(home / "home/manifest.csv")["path"][3]
    other = pd.read_csv(home / "abroad/manifest.csv")["path"][1]
    shutil.copy(home / "home" / first, home / "abroad" / other)
    with pytest.raises(ManifestError, match=f"'{other}' is the same audio as '{first}'"):
        run(settings(home, data={"cross": ["abroad/manifest.csv"]}), tmp_path / "out")


def test_a_repeat_within_its_group_is_harmless_and_counted(home, tmp_path):
    rename_a_clip(home, other_group=False)
    variants = [{"name": "none", "transfer": {"method": "none"}}]
    result = run(settings(home, variants=variants), tmp_path / "out")
    assert json.loads((result.folder / "metrics.json").read_text())["guards"]["duplicate_clips"] == 1


def test_silence_of_another_length_is_other_audio(tmp_path):
    """The guard is about content: two files that only sound alike are not one."""
    for name, length in (("a", 4000), ("b", 4001)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(length), 16_000)
    (tmp_path / "manifest.csv").write_text("path,label\na.wav,x\nb.wav,y\n")
    hashes = Clips(Manifest.read(tmp_path / "manifest.csv"), 16_000, 1.0).hashes()
    assert len(set(hashes)) == 2
