"""Every transfer method and published student through a run and through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.cli import group
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.pipeline import run
from embcomp.storage.store import write_store
from embcomp.students.classifier import Classifier

TERMS = {
    "logit_kd": {"prediction", "kd"},
    "embedding_kd": {"prediction", "distance", "kd"},
    "regression": {"prediction", "distance"},
    "clip_prototypes": {"prediction", "contrast"},
    "clip_samples": {"prediction", "contrast"},
    "clip_teacher": {"prediction", "contrast"},
    "concepts": {"prediction", "concept"},
}
STUDENTS = {"cp_resnet": 512, "mobile_fcn": 256}


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "home", groups=4, clips=2, name="home")
    return root


@pytest.fixture(scope="module")
def finished(sets, tmp_path_factory):
    """One seed, every method, half of the labels hidden; the published students with one step each."""
    variants = [{"name": name, "transfer": {"method": name}} for name in TERMS]
    variants.append({"name": "balanced", "transfer": {"method": "regression", "head": "mlp", "clusters": 3}})
    variants.append({"name": "projector", "transfer": {"student_projector": True}})
    short = {"steps": 1, "evaluate_every": 1, "batch_size": 4}
    for kind in STUDENTS:
        variants.append(
            {"name": kind, "student": {"kind": kind}, "transfer": {"method": "clip_samples"}, "training": short}
        )
    content = tiny(sets, seeds=[0], split={"folds": 2, "validation": 0.5, "labels_per_class": 1}, variants=variants)
    content["data"]["cross"], content["transfer"] = [], {"concepts": 3}
    return run(parse(content), tmp_path_factory.mktemp("run") / "out")


@pytest.mark.parametrize("method", TERMS)
def test_a_run_trains_and_scores_every_method(finished, method):
    table = finished.scores
    rows = table[(table["variant"] == method) & (table["setting"] == "in-domain")]
    assert set(rows["method"]) == {method} and set(rows["teacher"]) == {"kmeans"}
    assert (rows["compressor"].fillna("") == "").all()
    assert rows["value"].between(0, 1).all() and (rows["n"] == 16).any()
    history = pd.read_csv(finished.folder / "history.csv")
    found = history[history["variant"] == method]
    assert len(found) == 2 * 2  # folds, evaluations
    assert {name for name in set().union(*TERMS.values()) if found[name].notna().all()} == TERMS[method]


def test_a_run_takes_the_options_of_a_method(finished):
    assert {"balanced", "projector"} <= set(finished.scores["variant"])


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_run_trains_published_students_at_their_own_width(finished, kind):
    everything = [Classifier.load(path) for path in (finished.folder / "stages/students").iterdir()]
    found = [classifier for classifier in everything if classifier.student.kind == kind]
    assert len(found) == 2 and {one.network.embedding_width for one in found} == {STUDENTS[kind]}


def test_the_command_line_distills_with_every_method(sets, tmp_path):
    path = sets / "home/manifest.csv"
    manifest = Manifest.read(path)
    vectors = np.random.default_rng(0).normal(size=(len(manifest), 6)).astype(np.float32)
    hashes = Clips(manifest, 16_000, 0.4).hashes()
    write_store(tmp_path / "vectors", manifest.ids, hashes, 6, {}, lambda rows: vectors[rows], batch_size=16)
    settings = ["training.steps=4", "training.batch_size=4", "student.width=16", "audio.n_mels=24", "audio.seconds=0.4"]
    for name in TERMS.keys() - {"clip_teacher"}:  # see test_transfer_clip_teacher
        out = tmp_path / name
        own = ["transfer.concepts=3"] if name == "concepts" else []
        options = [part for setting in settings + own for part in ("--set", setting)]
        arguments = [str(path), "--targets", str(tmp_path / "vectors"), "--transfer", name, "--out", str(out), *options]
        done = CliRunner().invoke(group, ["distill", *arguments])
        assert done.exit_code == 0, done.output
        assert Classifier.load(out).about["method"] == name


def test_the_command_line_names_the_nearest_method(sets, tmp_path):
    done = CliRunner().invoke(
        group, ["distill", str(sets / "home/manifest.csv"), "--transfer", "regresion", "--out", str(tmp_path / "x")]
    )
    assert isinstance(done.exception, ConfigError) and "did you mean 'regression'" in str(done.exception)
