"""Compressors scored by probes on stored vectors, without audio."""

from __future__ import annotations

from dataclasses import replace

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
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError, ManifestError, StoreError
from embcomp.evaluation.compressors import VectorSet, _parts, evaluate_compressor
from embcomp.evaluation.probes import fit_probe

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


@pytest.mark.parametrize("kind", ["probe", "k-NN"])
@pytest.mark.parametrize("variant", ["raw", "compressed"])
def test_every_row_is_of_the_probe_and_the_vectors_that_it_names(sets, compressor, evaluated, kind, variant):
    learned, tested = opened(sets, "other"), shifted(sets)
    transform = compressor.transform if variant == "compressed" else np.asarray
    labels, name = encode(learned.manifest.labels), variant if kind == "probe" else f"{kind}: {variant}"
    rows = evaluated.table.query("metric == 'balanced_accuracy'")
    rows = rows[rows["variant"] == name].set_index("setting")
    assert sorted(rows.index) == ["adapted", "cross-dataset"]
    everything = transform(tested.vectors)
    predict = fit_probe(kind, transform(learned.vectors), labels)
    for setting, options in (("cross-dataset", ()), ("adapted", (everything,))):
        predicted = np.array(labels.classes)[predict(everything, *options).argmax(1)]
        expected = balanced_accuracy_score(tested.manifest.labels, predicted)
        assert rows.loc[setting, "value"] == pytest.approx(expected)
    assert rows.loc["adapted", "value"] > rows.loc["cross-dataset", "value"]
    assert set(rows["train_dataset"]) == {"other"} and set(rows["test_dataset"]) == {"third"}
    described = {"raw": ("", ""), "compressed": ("pca/reconstruction", 3)}[variant]
    assert set(zip(rows["compressor"], rows["dim"])) == {described} and set(rows["method"]) == {"probe"}


def shifted(sets):
    """Clips whose vectors lie elsewhere, so that it matters what they are standardised by."""
    third = opened(sets, "third")
    return VectorSet(third.manifest, 2 * third.vectors + 3, third.keys)


@pytest.fixture(scope="module")
def evaluated(sets, compressor):
    return evaluate_compressor(compressor, shifted(sets), probe_on=opened(sets, "other"), config=QUICK, reestimate=True)


@pytest.mark.parametrize(("groups", "folds"), [(2, 2), (3, 3), (5, 5), (8, 5)])
def test_there_are_five_folds_or_as_many_as_groups(sets, groups, folds):
    whole = opened(sets, "first")
    names = [f"g{row // 3 % groups}" for row in range(60)]
    table = replace(whole.manifest, table=whole.manifest.table.assign(group=names))
    parts = list(_parts(VectorSet(table, whole.vectors, whole.keys), None, None, 0))
    assert len(parts) == folds
    assert sorted(np.concatenate([mapped.kept for _, _, mapped in parts])) == list(range(60))
    for learned_on, labels, mapped in parts:
        train = np.setdiff1d(np.arange(60), mapped.kept)
        np.testing.assert_array_equal(learned_on, whole.vectors[train])
        assert not set(table.groups[train]) & set(table.groups[mapped.kept])
        np.testing.assert_array_equal(labels.index, train % 3)
        np.testing.assert_array_equal(mapped.labels.index, mapped.kept % 3)


def test_without_other_clips_probes_are_cross_validated_by_group(sets, compressor):
    found = evaluate_compressor(compressor, opened(sets, "other"), config=QUICK)
    assert set(found.table["setting"]) == {"in-domain"} and set(found.table["unseen"]) == {"groups"}
    assert set(found.table["train_dataset"]) == set(found.table["test_dataset"]) == {"other"}
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
    with pytest.raises(ConfigError, match="--label-map is for probes that are fitted on other clips"):
        evaluate_compressor(compressor, other, label_map={"c0": "c1"})
    for width in (5, 9):
        resized = VectorSet(other.manifest, np.resize(other.vectors, (45, width)), other.keys)
        for given in ({"tested": resized}, {"tested": opened(sets, "third"), "probe_on": resized}):
            with pytest.raises(ConfigError, match=f"other have {width} dimensions, the compressor takes 8"):
                evaluate_compressor(compressor, **given)
    write_set(tmp_path / "bad", seed=9)
    vectors = np.load(tmp_path / "bad/emb.npy")
    vectors[[3, 7], 1] = np.nan, np.inf
    np.save(tmp_path / "bad/emb.npy", vectors)
    with pytest.raises(StoreError, match="2 of 60 vectors are NaN or infinite, that of 'bad3' first"):
        opened(tmp_path, "bad")
    vectors[7], vectors[3] = 1, vectors[0]
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
