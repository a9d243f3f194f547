"""Runs whose students get rows of a table, or images: everything a run on audio keeps to, they keep to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from embcomp.cli import group
from embcomp.config import load
from embcomp.data.inputs import read_inputs
from embcomp.errors import ConfigError, ManifestError, StoreError
from embcomp.pipeline import run
from embcomp.pipeline.matrix import matrix
from embcomp.pipeline.repeat import repeat
from embcomp.students.classifier import Classifier
from tests.helpers.inputs import write_config, write_set

ONE_SEED = ["seeds=[0]"]
QUICK = [
    "seeds=[0]",
    "training.steps=4",
    "evaluation.probe=false",
    "evaluation.bootstrap=2",
    "evaluation.reestimate=false",
]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    write_set(root / "first")
    write_set(root / "other", 30, shift=0.5, seed=1)
    return root


@pytest.fixture(scope="module")
def runs(sets):
    return {
        inputs: run(load(write_config(sets, inputs, f"{inputs}.toml"), ONE_SEED), sets / inputs)
        for inputs in ("table", "images")
    }


@pytest.fixture
def copy(tmp_path):
    write_set(tmp_path / "first")
    write_set(tmp_path / "other", 30, shift=0.5, seed=1)
    return tmp_path


def students(found):
    index = pd.read_json(found.folder / "predictions.json")
    return {found.folder / path for path in index["student"].dropna()}


@pytest.mark.parametrize(("inputs", "kind", "floor"), [("table", "mlp", "columns"), ("images", "cnn", "pixels")])
def test_variants_are_compared_as_on_audio(runs, inputs, kind, floor):
    found = runs[inputs]
    names = set(found.scores["variant"])
    assert {"no teacher", "raw", "compressed", f"probe: {floor}", f"k-NN: {floor}", "majority class"} <= names
    assert {*found.scores.loc[found.scores["variant"] == f"probe: {floor}", "vectors"]} == {"input"}
    assert set(found.scores["setting"]) == {"in-domain", "cross-dataset", "adapted", "validation"}
    mean = found.summary.set_index(["variant", "setting"])["mean"]
    assert mean["no teacher", "in-domain"] > 0.6 > mean["majority class", "in-domain"]
    assert all(Classifier.load(path).student.kind == kind for path in students(found))
    assert "compressed" in (found.folder / "comparisons.csv").read_text()


@pytest.mark.parametrize("inputs", ["table", "images"])
def test_a_second_call_has_nothing_to_do(sets, runs, inputs):
    again = run(load(sets / f"{inputs}.toml", ONE_SEED), sets / inputs)
    assert again.made == 0 and again.reused == runs[inputs].made
    pd.testing.assert_frame_equal(again.scores, runs[inputs].scores)


def test_columns_are_standardised_on_the_fit_rows_alone(sets, runs):
    rows = read_inputs("table", sets / "first/table.csv")
    ids_by_key = dict(zip(rows.keys(rows.ids), rows.ids))
    seen = set()
    for path in students(runs["table"]):
        student = Classifier.load(path)
        # Fit and validation clips are kept as seen; the mean is of fewer: of some of these, and of no other.
        values = rows.take([ids_by_key[key] for key in student.seen])[:, :, 0]
        everything = rows.take(rows.ids)[:, :, 0]
        mean = student.network.norm.mean.numpy()
        assert not np.allclose(mean, everything.mean(0), rtol=1e-4)
        assert not np.allclose(mean, values.mean(0), rtol=1e-4)
        seen.add(len(values))
    splits = [pd.read_json(path, typ="series") for path in (runs["table"].folder / "stages/splits").glob("*.json")]
    means = [rows.take(split["fit"])[:, :, 0].mean(0) for split in splits]
    for path in students(runs["table"]):
        mean = Classifier.load(path).network.norm.mean.numpy()
        assert any(np.allclose(mean, one, rtol=1e-4) for one in means)


def test_the_page_speaks_of_what_there_was(runs):
    text = (runs["table"].folder / "report.html").read_text()
    assert "row of inputs is in two groups" in text and "log-mel" not in text and "clip of 0 s" not in text
    assert "image is in two groups" in (runs["images"].folder / "report.html").read_text()


def test_changed_numbers_are_trained_on_anew(copy):
    quick = [*QUICK, "split.rotate=true"]
    first = students(run(load(write_config(copy, "table"), quick), copy / "run"))
    table = pd.read_csv(copy / "first/table.csv")
    table["a"] += np.arange(60)
    table.to_csv(copy / "first/table.csv", index=False)
    again = run(load(copy / "c.toml", quick), copy / "run")
    assert again.made > 0 and not first & students(again)
    fewer = run(load(copy / "c.toml", [*quick, 'data.columns=["b", "a"]']), copy / "run")
    columns = {Classifier.load(path).inputs.columns for path in students(fewer)}
    assert columns == {("b", "a")}


def test_the_same_row_in_two_groups_and_in_two_sets_is_refused(copy):
    path = write_config(copy, "images")
    with np.load(copy / "first/images.npz") as arrays:
        images, ids = arrays["images"], arrays["ids"]
    changed = images.copy()
    changed[3] = changed[0]
    np.savez(copy / "first/images.npz", images=changed, ids=ids)
    with pytest.raises(ManifestError, match="in more than one group: 'first0'"):
        run(load(path), copy / "run")
    np.savez(copy / "first/images.npz", images=images, ids=ids)
    with np.load(copy / "other/images.npz") as arrays:
        other, names = arrays["images"], arrays["ids"]
    other[4] = images[7]
    np.savez(copy / "other/images.npz", images=other, ids=names)
    with pytest.raises(ManifestError, match="'other4'.*'first7'"):
        run(load(path), copy / "run")


def test_rows_that_cannot_be_used_are_named_or_left_out(copy):
    path = write_config(copy, "table")
    table = pd.read_csv(copy / "first/table.csv").set_index("id")
    table.loc["first5", "b"] = np.nan
    table.to_csv(copy / "first/table.csv")
    vectors = np.load(copy / "first/emb.npy")
    vectors[8, 0] = np.inf
    np.save(copy / "first/emb.npy", vectors)
    with pytest.raises(StoreError, match="(?s)row 7: first5: column 'b'.*row 10: first8: its vector in emb.npy"):
        run(load(path), copy / "run")
    found = run(load(path, ["data.skip_bad=true", *QUICK]), copy / "run")
    assert [clip.row for clip in found.bad] == [7, 10]
    assert found.scores.query("setting == 'in-domain' and seed == 'all'")["n"].max() == 58


def test_a_set_of_other_columns_or_shape_is_refused(copy):
    pd.read_csv(copy / "other/table.csv").rename(columns={"b": "e"}).to_csv(copy / "other/table.csv", index=False)
    with pytest.raises(StoreError, match="has no column 'b'"):
        run(load(write_config(copy, "table")), copy / "run")
    assert not (copy / "run").exists()
    with np.load(copy / "other/images.npz") as arrays:
        images, ids = arrays["images"], arrays["ids"]
    np.savez(copy / "other/images.npz", images=images[:, :, :4], ids=ids)
    with pytest.raises(StoreError, match=r"shape \(1, 6, 4\), where first, which is trained on, has \(1, 6, 5\)"):
        run(load(write_config(copy, "images")), copy / "run")
    with pytest.raises(ConfigError, match="'ds_cnn' takes audio"):
        load(copy / "c.toml", ["student.kind=ds_cnn"])


def test_unlabelled_rows_and_mixup_take_part(copy):
    write_set(copy / "more", 24, seed=2)
    path = write_config(copy, "images")
    options = ['data.unlabelled=["more/manifest.csv"]', "training.mixup=0.3", *QUICK]
    found = run(load(path, options), copy / "run")
    sizes = {len(Classifier.load(student).seen) for student in students(found)}
    assert max(sizes) >= min(sizes) + 24


def called(*arguments):
    done = CliRunner().invoke(group, [str(argument) for argument in arguments])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_every_command_takes_such_students_or_refuses_them_in_a_line(copy):
    first, other = copy / "first", copy / "other"
    code, text = called("embed", first / "manifest.csv", "--teacher", "store:emb.npy", "--out", copy / "store")
    assert code == 0, text
    quick = ("--set", "training.steps=10", "--set", "student.width=8")
    command = ("distill", first / "manifest.csv", "--targets", copy / "store", "--transfer", "embedding", *quick)
    code, text = called(*command, "--inputs", "table", "--input-file", "table.csv", "--out", copy / "s")
    assert code == 0, text
    stamp = (copy / "s/weights.safetensors").stat().st_mtime_ns
    assert called(*command, "--inputs", "table", "--input-file", "table.csv", "--out", copy / "s")[0] == 0
    assert (copy / "s/weights.safetensors").stat().st_mtime_ns == stamp
    code, text = called(
        "evaluate", copy / "s", other / "manifest.csv", "--inputs", "table.csv", "--reestimate", "--out", copy / "e.csv"
    )
    assert code == 0 and "n=30" in text and set(pd.read_csv(copy / "e.csv")["setting"]) == {"as trained", "adapted"}
    code, text = called(
        "evaluate", copy / "s", first / "manifest.csv", "--inputs", "table.csv", "--out", copy / "e.csv"
    )
    assert code and "was trained on 60 of these clips" in text
    code, text = called("evaluate", copy / "s", other / "manifest.csv", "--out", copy / "e.csv")
    assert code and "takes a table with 4 columns (a, b, c, d); give the file" in text
    code, text = called("predict", copy / "s", other / "table.csv", "--out", copy / "p.csv")
    table = pd.read_csv(copy / "p.csv")
    assert (
        code == 0
        and list(table.columns) == ["path", "label", "probability", "p:c0", "p:c1", "p:c2"]
        and len(table) == 30
    )
    student = Classifier.load(copy / "s")
    rows = read_inputs("table", other / "table.csv")
    expected = student.probabilities(student.network(torch.from_numpy(rows.take(table["path"])), None).logits)
    np.testing.assert_allclose(table.iloc[:, 3:], expected.detach(), atol=1e-5)
    for arguments in (("predict", copy / "s", other / "table.csv", "--window", 1), ("profile", copy / "s")):
        code, text = called(*arguments)
        assert code and "students that take audio" in text and "Traceback" not in text
    code, text = called("export", copy / "s", "--to", "onnx", "--out", copy / "x.onnx")
    assert code == 0 and (copy / "x.onnx").is_file(), text
    code, text = called(
        "distill", first / "manifest.csv", "--transfer", "none", "--inputs", "images", "--out", copy / "t"
    )
    assert code and "needs data.input_file" in text


def test_a_matrix_joins_manifests_and_refuses_tables(copy):
    config = load(write_config(copy, "table"))
    with pytest.raises(ConfigError, match="table.csv belongs to one manifest"):
        matrix(config, [copy / "first/manifest.csv", copy / "other/manifest.csv"], copy / "matrix")
    assert not (copy / "matrix").exists()


def test_a_repeated_run_has_the_same_scores(copy):
    run(load(write_config(copy, "images"), [*QUICK, "split.rotate=true"]), copy / "run")
    found = repeat(copy / "run", copy / "again")
    assert found.same and found.compared
