"""Compressors scored by probes on stored vectors, without audio."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.inputs import write_set
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from embcomp.cli import group
from embcomp.compression import Compressor
from embcomp.config import EvaluationConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError, ManifestError, StoreError
from embcomp.evaluation.compressors import VectorSet, evaluate_compressor

QUICK = EvaluationConfig(bootstrap=5)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    for number, (name, clips) in enumerate((("first", 60), ("other", 45), ("third", 30))):
        write_set(root / name, clips, seed=number)
    return root


@pytest.fixture(scope="module")
def compressor(sets):
    first = opened(sets, "first")
    fitted = Compressor(3, method="pca", objective="reconstruction")
    return fitted.fit(first.vectors, ids=list(first.keys.values()))


def opened(sets, name):
    return VectorSet.open(Manifest.read(sets / name / "manifest.csv"), "emb.npy")


def value(found, variant, setting):
    rows = found.table.query("metric == 'balanced_accuracy'").set_index(["variant", "setting"])
    return rows.loc[(variant, setting), "value"]


def test_a_probe_fitted_on_other_clips_is_that_of_scikit_learn(sets, compressor):
    learned, tested = opened(sets, "other"), opened(sets, "third")
    found = evaluate_compressor(compressor, tested, probe_on=learned, config=QUICK, reestimate=True)
    for variant, transform in (("raw", np.asarray), ("compressed", compressor.transform)):
        scaler = StandardScaler().fit(transform(learned.vectors))
        # The product's own regression: an L2 penalty of 1 on the sum over rows, as here.
        model = LogisticRegression(max_iter=1000).fit(
            scaler.transform(transform(learned.vectors)), learned.manifest.labels
        )
        expected = balanced_accuracy_score(
            tested.manifest.labels, model.predict(scaler.transform(transform(tested.vectors)))
        )
        assert value(found, variant, "cross-dataset") == pytest.approx(expected, abs=0.07)
    assert set(found.table["setting"]) == {"cross-dataset", "adapted"}
    assert set(zip(found.table["variant"], found.table["vectors"])) == {
        *(("raw", "embedding"), ("k-NN: raw", "embedding"), ("compressed", "target"), ("k-NN: compressed", "target"))
    }


def test_without_other_clips_probes_are_cross_validated_by_group(sets, compressor):
    found = evaluate_compressor(compressor, opened(sets, "other"), config=QUICK)
    assert set(found.table["setting"]) == {"in-domain"} and set(found.table["unseen"]) == {"groups"}
    assert set(found.table["n"]) == {45} and 0.5 < value(found, "raw", "in-domain") <= 1
    identity = Compressor(8, method="identity").fit(np.random.default_rng(0).normal(size=(20, 8)))
    same = evaluate_compressor(identity, opened(sets, "other"), config=QUICK)
    assert value(same, "raw", "in-domain") == value(same, "compressed", "in-domain")


def test_a_group_with_the_only_clips_of_a_class_is_learned_from_in_every_fold(tmp_path, compressor):
    write_set(tmp_path / "few", seed=5)
    table = pd.read_csv(tmp_path / "few/manifest.csv")
    names = sorted(set(table["group"]))[:5]
    table["group"] = [names[row % 5] for row in range(len(table))]
    table.loc[table["group"] == names[4], "label"] = "alone"
    table.to_csv(tmp_path / "few/manifest.csv", index=False)
    found = evaluate_compressor(compressor, opened(tmp_path, "few"), config=QUICK)
    assert set(found.table["n"]) == {48} and found.not_tested == ("alone",)


def test_what_would_mean_nothing_is_refused(sets, compressor, tmp_path):
    first, other = opened(sets, "first"), opened(sets, "other")
    with pytest.raises(DataError, match="the compressor was fitted on 60 of these clips, 'first0' first"):
        evaluate_compressor(compressor, first)
    assert len(evaluate_compressor(compressor, first, config=QUICK, allow_seen=True).table)
    with pytest.raises(ManifestError, match="'other0' is the same vector as 'other0'"):
        evaluate_compressor(compressor, other, probe_on=other)
    with pytest.raises(ConfigError, match="--reestimate is for probes that are fitted on other clips"):
        evaluate_compressor(compressor, other, reestimate=True)
    narrow = VectorSet(other.manifest, other.vectors[:, :5], other.keys)
    with pytest.raises(ConfigError, match="other have 5 dimensions, the compressor takes 8"):
        evaluate_compressor(compressor, narrow)
    write_set(tmp_path / "bad", seed=9)
    vectors = np.load(tmp_path / "bad/emb.npy")
    vectors[3, 1] = np.nan
    np.save(tmp_path / "bad/emb.npy", vectors)
    with pytest.raises(StoreError, match="1 of 60 vectors are NaN or infinite, that of 'bad3' first"):
        opened(tmp_path, "bad")
    vectors[3] = vectors[0]
    np.save(tmp_path / "bad/emb.npy", vectors)
    with pytest.raises(ManifestError, match="whose vector is in more than one group"):
        evaluate_compressor(compressor, opened(tmp_path, "bad"))


def called(*arguments):
    done = CliRunner().invoke(group, [str(argument) for argument in arguments])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_the_command_tells_a_compressor_from_a_student(sets, compressor, tmp_path):
    compressor.save(tmp_path / "c")
    out = tmp_path / "scores.csv"
    command = ("evaluate", tmp_path / "c", sets / "third/manifest.csv", "--out", out)
    code, text = called(*command, "--vectors", "emb.npy", "--probe-on", sets / "other/manifest.csv")
    assert code == 0 and "third  compressed  balanced_accuracy" in text
    table = pd.read_csv(out)
    assert set(table.loc[table["variant"] == "compressed", "dim"]) == {3.0}
    assert called(*command, "--vectors", "emb.npy")[0] == 0  # its own table may be written over
    for options, message in (
        ((), "which takes embeddings; give their file with --vectors"),
        (("--vectors", "emb.npy", "--inputs", "x.csv"), "--inputs is for students"),
        (("--vectors", "emb.npy", "--probe-split", "a"), "add --probe-on MANIFEST"),
        (("--vectors", "none.npy"), "no embeddings at"),
    ):
        code, text = called(*command, *options)
        assert code and message in text


def test_one_table_with_a_split_gives_both_sides(tmp_path, compressor):
    write_set(tmp_path / "set", seed=7)
    table = pd.read_csv(tmp_path / "set/manifest.csv")
    table["split"] = np.where(table["group"].isin(["g0", "g1", "g2"]), "test", "train")
    table.to_csv(tmp_path / "set/manifest.csv", index=False)
    compressor.save(tmp_path / "c")
    manifest = tmp_path / "set/manifest.csv"
    options = ("--vectors", "emb.npy", "--split", "test", "--probe-on", manifest, "--probe-split", "train")
    code, text = called("evaluate", tmp_path / "c", manifest, *options, "--out", tmp_path / "s.csv")
    assert code == 0 and "n=18" in text
