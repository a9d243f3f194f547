"""Unlabelled clips: they teach through the targets, and are never tested."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.cli import group
from embcomp.compression import Compressor
from embcomp.config import parse, read_choice
from embcomp.config.sections import TrainingConfig, VariantConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, ManifestError
from embcomp.pipeline import run
from embcomp.storage.files import read_json
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.students.classifier import Classifier
from embcomp.training.distill import distill
from embcomp.training.examples import Joined


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "home", groups=4, clips=2, name="home")
    manifest = write_tones(root / "pool", groups=2, clips=3, name="pool", seed=9, classes=("high", "low", "other"))
    rows = list(csv.reader(manifest.open(encoding="utf-8")))
    rows[1:] = [[row[0], "", *row[2:]] for row in rows[1:]]
    csv.writer(manifest.open("w", newline="", encoding="utf-8")).writerows(rows)
    return root


def content(sets, unlabelled=("pool/manifest.csv",), **sections):
    variants = [
        {"name": "none", "transfer": {"method": "none"}},
        {"name": "with", "transfer": {"method": "compressed", "soft_labels": 0.5}},
        {"name": "raw", "transfer": {"method": "embedding"}},
        {"name": "without", "training": {"unlabelled": False}},
    ]
    found = tiny(sets, seeds=[0], variants=variants, evaluation={"probe": False}, **sections)
    found["data"] |= {"cross": [], "unlabelled": list(unlabelled)}
    return found


@pytest.fixture(scope="module")
def finished(sets, tmp_path_factory):
    return run(parse(content(sets)), tmp_path_factory.mktemp("run") / "out")


def seen(result, name):
    folders = (result.folder / "stages/students").iterdir()
    return [set(one.seen) for one in map(Classifier.load, folders) if one.about["variant"] == name]


def test_students_learn_from_the_pool_where_their_method_can(finished, sets):
    pool = set(Clips(Manifest.read(sets / "pool/manifest.csv"), 16_000, 0.4).hashes())
    assert len(pool) == 18
    for name, learns in (("none", False), ("with", True), ("raw", True), ("without", False)):
        found = seen(finished, name)
        assert len(found) == 2 and all(
            (pool <= clips) == learns and (pool & clips != set()) == learns for clips in found
        )


def test_no_score_is_of_the_pool(finished):
    assert set(finished.scores["test_dataset"]) == {"home"}
    assert not [path for path in (finished.folder / "stages/predictions").iterdir() if "pool" in path.read_text()]


def test_a_variant_without_the_pool_is_the_variant_of_a_run_without_it(finished, sets, tmp_path):
    plain = run(parse(content(sets, ())), tmp_path / "plain")
    for name, same in (("none", True), ("without", True), ("with", False)):
        histories = [pd.read_csv(one.folder / "history.csv") for one in (finished, plain)]
        first, second = (one[one["variant"] == name].reset_index(drop=True) for one in histories)
        assert first.equals(second) == same


def test_log_mels_of_the_pool_in_float16(sets, finished, tmp_path):
    settings = content(sets) | {
        "variants": [{"name": "with", "transfer": {"method": "compressed", "soft_labels": 0.5}}]
    }
    settings["data"]["unlabelled_dtype"] = "float16"
    result = run(parse(settings), tmp_path / "out")
    stores = [EmbeddingStore.open(path) for path in (result.folder / "stages/features").iterdir()]
    assert sorted((len(store), str(store.data.dtype)) for store in stores) == [(16, "float32"), (18, "float16")]
    assert sorted(map(sorted, seen(result, "with"))) == sorted(map(sorted, seen(finished, "with")))
    one, other = (pd.read_csv(found.folder / "history.csv").query("variant == 'with'") for found in (result, finished))
    assert np.allclose(one["prediction"], other["prediction"], atol=0.05) and not one.equals(other)


def test_a_pool_that_holds_a_clip_of_the_training_set_is_refused_by_name(sets, tmp_path):
    shutil.copytree(sets, tmp_path / "sets")
    clip = next((tmp_path / "sets/home/audio").iterdir())
    shutil.copy(clip, tmp_path / "sets/pool/audio/renamed.wav")
    with open(tmp_path / "sets/pool/manifest.csv", "a", encoding="utf-8") as file:
        file.write("audio/renamed.wav,,g,,pool\n")
    with pytest.raises(ManifestError, match=r"unlabelled set pool and home.*renamed\.wav"):
        run(parse(content(tmp_path / "sets")), tmp_path / "out")
    assert not (tmp_path / "out/stages/embeddings").exists()


def test_the_guards_say_that_they_looked_at_the_pool(finished):
    text = (finished.folder / "metrics.json").read_text()
    assert "no unlabelled clip is a clip of the training set" in text


def vectors(manifest, path, dim=6):
    clips = Clips(manifest, 16_000, 2.0)
    values = np.random.default_rng(0).normal(size=(len(manifest), dim)).astype(np.float32)
    return write_store(path, manifest.ids, clips.hashes(), dim, {"teacher": "x"}, lambda rows: values[rows])


def variant(method="compressed", **keys):
    training = TrainingConfig(steps=4, batch_size=8, evaluate_every=2)
    student = read_choice("student", {"width": 16})
    return VariantConfig(
        transfer=read_choice("transfer", {"method": method, **keys}), training=training, student=student
    )


def test_distill_takes_unlabelled_clips(sets, tmp_path):
    home, pool = (Manifest.read(sets / name / "manifest.csv") for name in ("home", "pool"))
    targets, more = vectors(home, tmp_path / "home"), vectors(pool, tmp_path / "pool")
    student = distill(home, tmp_path / "student", variant=variant(), targets=targets, unlabelled=[(pool, more)])
    assert len(student.seen) == 16 + 18 and student.about["unlabelled"] == 18
    assert set(student.classes) == {"high", "low"}
    with pytest.raises(ConfigError, match="learns nothing from unlabelled clips; leave --unlabelled out"):
        distill(home, tmp_path / "x", variant=variant("none"), unlabelled=[(pool, more)])
    with pytest.raises(ConfigError, match="different widths"):
        other = vectors(pool, tmp_path / "other", dim=5)
        distill(home, tmp_path / "y", variant=variant(), targets=targets, unlabelled=[(pool, other)])
    with pytest.raises(ManifestError, match="the labelled clips and the unlabelled ones of home"):
        distill(home, tmp_path / "z", variant=variant(), targets=targets, unlabelled=[(home, targets)])


def test_distill_on_the_command_line(sets, tmp_path):
    home, pool = sets / "home/manifest.csv", sets / "pool/manifest.csv"
    vectors(Manifest.read(home), tmp_path / "home")
    vectors(Manifest.read(pool), tmp_path / "pool")
    options = ["--set", "training.steps=2", "--set", "student.width=16", "--out", str(tmp_path / "student")]
    arguments = ["distill", str(home), "--targets", str(tmp_path / "home"), *options]
    done = CliRunner().invoke(group, [*arguments, "--unlabelled", f"{pool}:{tmp_path / 'pool'}"])
    assert done.exit_code == 0, done.output
    assert Classifier.load(tmp_path / "student").about["unlabelled"] == 18
    done = CliRunner().invoke(group, [*arguments, "--unlabelled", "pool"])
    assert "takes MANIFEST:STORE, not 'pool'" in str(done.exception)


def test_joined_examples_keep_their_clips(sets):
    from helpers.transfer_cases import examples

    first, second = examples(6, frames=20), examples(4, frames=30, unlabelled=4)
    joined = Joined([first, second])
    assert joined.labels.labelled.tolist() == [True] * 6 + [False] * 4
    features, lengths = joined.at(torch.arange(10))
    for part, offset in ((first, 0), (second, 6)):
        for row in range(len(part.labels)):
            length = int(part.lengths[row])
            assert int(lengths[offset + row]) == length
            assert (features[offset + row, :, :length] == part.features[row, :, :length]).all()


def test_what_is_learned_without_labels_is_learned_from_the_pool_too(sets, tmp_path):
    variants = [
        {"name": name, "compressor": {"method": method, "objective": objective}, "training": {"unlabelled": uses}}
        for name, method, objective, uses in (
            ("pca", "pca", "reconstruction", True),
            ("pca without", "pca", "reconstruction", False),
            ("task", "linear", "task", True),
        )
    ]
    result = run(parse(content(sets) | {"variants": variants, "evaluation": {"bootstrap": 2}}), tmp_path / "out")
    pool = set(Clips(Manifest.read(sets / "pool/manifest.csv"), 16_000, 0.4).hashes())
    compressors = [Compressor.load(path) for path in (result.folder / "stages/compressors").iterdir()]
    assert len(compressors) == 3 * 2  # two folds
    learned_from = [(one.method, len(one.seen(sorted(pool)))) for one in compressors]
    assert sorted(learned_from) == [("linear", 0)] * 2 + [("pca", 0)] * 2 + [("pca", len(pool))] * 2
    # Probes on what was learned with the pool and without it are not taken for one.
    index = read_json(result.folder / "predictions.json")
    probes = [one for one in index if one["probe"] == "probe" and one["vectors"] in ("embedding", "target")]
    assert len(probes) == 2 * 5 == len({(one["variant"], one["fold"]) for one in probes})
    # Two teachers a fold: the variant that leaves the pool out has one that was not learned on it.
    assert len(list((result.folder / "stages/teachers").iterdir())) == 2 * 2
