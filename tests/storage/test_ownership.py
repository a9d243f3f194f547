"""Nothing of anybody else's is replaced, emptied, or advised to be deleted."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.settings import student_settings

from embcomp.cli import group
from embcomp.compression import Compressor, Quantiser
from embcomp.config import AudioConfig, CompressorConfig, VariantConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.demo import render
from embcomp.errors import ArtifactError, ConfigError, EmbcompError, StoreError
from embcomp.evaluation.scores import Predictions
from embcomp.pipeline import run
from embcomp.pipeline.sweep import sweep
from embcomp.report import write_report
from embcomp.storage.artifact import save_artifact
from embcomp.storage.files import new_folder
from embcomp.storage.ownership import advice, check_results, kind_of, mark_results, refuse_other
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.students.classifier import Classifier
from embcomp.teachers.embed_manifest import embed_manifest
from embcomp.training.compress import compress
from embcomp.training.distill import distill

ROWS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def plant(folder, **files):
    """A folder of somebody else's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files or {"model.safetensors": "precious"}).items():
        (folder / name.replace("__", ".")).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


FOREIGN = {
    "a model of another library": {"config__json": {"model_type": "wav2vec2"}, "model__safetensors": "x"},
    "a config without a kind": {"config__json": {"format": 1}, "weights__safetensors": "x"},
    "a config without a format": {"config__json": {"kind": "compressor"}, "weights__safetensors": "x"},
    "a config that is no object": {"config__json": [1], "weights__safetensors": "x"},
    "a config that is no JSON": {"config__json": "{", "weights__safetensors": "x"},
    "music": {"song__wav": "la"},
    "an empty file": {"keep": ""},
    "one file that is hidden": {"__git": "x"},
    "our config and a file of theirs": {"config__json": {"kind": "compressor", "format": 1}, "thesis__tex": "x"},
    "a student": {"config__json": {"kind": "student", "format": 1}, "weights__safetensors": "x"},
    "a store": {
        "meta__json": {"format": 1, "complete": True, "settings": {}},
        "data__npy": "x",
        "index__csv": "id,hash",
    },
    "a run": {"embcomp__json": {"kind": "run", "format": 1}, "config__toml": "x"},
}


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("by_link", [False, True])
def test_a_compressor_is_saved_into_no_folder_of_anything_else(tmp_path, name, by_link):
    there = plant(tmp_path / "there", **FOREIGN[name])
    before = content_of(there)
    target = there
    if by_link:
        target = tmp_path / "link"
        target.symlink_to(there)
    with pytest.raises(ArtifactError, match="there|link") as caught:
        Compressor(2, "pca").fit(ROWS).save(target)
    assert content_of(there) == before and "delete" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"there", target.name})
    assert advice(there, "compressor", ()) == "choose another --out"


@pytest.mark.parametrize("make", ["student", "quantiser", "kmeans teacher"])
def test_every_artifact_refuses_what_is_of_another_kind(tmp_path, make):
    Compressor(2, "pca").fit(ROWS).save(tmp_path / "c")
    before = content_of(tmp_path / "c")
    student = Classifier.new(["a", "b"], AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    save = {
        "student": lambda path: student.save(path),
        "quantiser": lambda path: Quantiser("int8").fit(ROWS).save(path),
        "kmeans teacher": lambda path: save_artifact(path, "kmeans teacher", {}, {"w": torch.zeros(1)}),
    }[make]
    with pytest.raises(ArtifactError, match="c holds a compressor, which a .* must not replace; choose another name"):
        save(tmp_path / "c")
    assert content_of(tmp_path / "c") == before


def test_the_same_kind_is_replaced_and_so_are_empty_folders(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".DS_Store").write_text("")
    Compressor(2, "pca").fit(ROWS).save(tmp_path / "c")
    Compressor(3, "pca").fit(ROWS).save(tmp_path / "c")
    assert Compressor.load(tmp_path / "c").n_components_ == 3
    (tmp_path / "link").symlink_to(tmp_path / "c")
    Compressor(1, "pca").fit(ROWS).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and Compressor.load(tmp_path / "c").n_components_ == 1


def test_what_comes_into_the_way_meanwhile_is_kept(tmp_path):
    with (
        pytest.raises(ArtifactError, match="other files"),
        new_folder(tmp_path / "c", lambda there: refuse_other(there, "compressor", ())) as folder,
    ):
        (folder / "weights").write_text("ours")
        plant(tmp_path / "c")
    assert content_of(tmp_path / "c") == {"model.safetensors": b"precious"}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def store(path, settings=None):
    return write_store(path, ["a", "b"], ["h", "i"], 2, settings or {}, lambda rows: np.zeros((len(rows), 2)))


@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "a store"])
def test_a_store_is_written_into_no_folder_of_anything_else(tmp_path, name):
    there = plant(tmp_path / "there", **FOREIGN[name])
    before = content_of(there)
    with pytest.raises(StoreError, match="holds .*, which a store must not replace; choose another name") as caught:
        store(there)
    assert "delete" not in str(caught.value)
    with pytest.raises(StoreError, match="is no store of embcomp: choose another"):
        EmbeddingStore.open(there)
    assert content_of(there) == before


def test_embed_and_distill_look_at_their_folder_before_any_clip(tones, tmp_path):
    manifest = Manifest.read(tones)
    manifest.table.loc[0, "path"] = "missing.wav"
    there = plant(tmp_path / "there", **FOREIGN["music"])
    with pytest.raises(ArtifactError, match=r"there holds other files \(song\.wav\), which a store must not replace"):
        embed_manifest(manifest, there)
    with pytest.raises(ArtifactError, match=r"there holds other files \(song\.wav\), which a student must not replace"):
        distill(manifest, there, variant=VariantConfig("x"))
    assert content_of(there) == {"song.wav": b"la"}


def test_files_beside_a_store_are_kept(tmp_path):
    store(tmp_path / "s")
    (tmp_path / "s/notes.txt").write_text("precious")
    with pytest.raises(StoreError, match=r"holds notes\.txt beside the store; move them"):
        write_store(tmp_path / "s", ["a"], ["h"], 2, {}, lambda rows: np.zeros((len(rows), 2)))
    with pytest.raises(StoreError, match=r"holds notes\.txt beside the store"):
        store(tmp_path / "s", {"other": 1})
    (tmp_path / "s/data.npy").write_text("damaged")
    with pytest.raises(StoreError, match=r"also holds notes\.txt: make it again elsewhere"):
        EmbeddingStore.open(tmp_path / "s")
    (tmp_path / "s/notes.txt").unlink()
    with pytest.raises(StoreError, match="delete it and make it again"):
        EmbeddingStore.open(tmp_path / "s")


def test_a_folder_called_like_a_store_in_writing_is_kept(tmp_path):
    plant(tmp_path / ".s.partial")
    with pytest.raises(StoreError, match=r"\.s\.partial holds model.safetensors, not a store in writing"):
        store(tmp_path / "s")
    assert content_of(tmp_path / ".s.partial")


def test_only_a_store_of_ours_is_advised_to_be_deleted(tmp_path):
    store(tmp_path / "s")
    with pytest.raises(StoreError, match="delete it or choose another --out"):
        store(tmp_path / "s", {"other": 1})


@pytest.fixture
def settings(tones):
    sections = {
        "seeds": [0],
        "workers": 1,
        "audio": {"seconds": 0.4, "n_mels": 24},
        "split": {"folds": 2, "validation": 0.5},
        "training": {"steps": 2, "batch_size": 8, "evaluate_every": 2, "freq_mask": 2},
        "evaluation": {"bootstrap": 20, "probe": False},
        "variants": [{"name": "none", "transfer": {"method": "none"}}],
    }
    return parse({**sections, "data": {"root": str(tones.parent)}})


@pytest.mark.parametrize("name", ["config.toml", "report.md", "scores.csv", "metrics.json", "stages"])
def test_a_run_writes_over_nothing_of_anybody_else(settings, tmp_path, name):
    plant(tmp_path / "mine", **{name.replace(".", "__"): "precious"})
    with pytest.raises(ArtifactError, match=f"is no folder of a run and holds {name}, which would be written over"):
        run(settings, tmp_path / "mine")
    assert content_of(tmp_path / "mine") == {name: b"precious"}


def test_a_run_goes_on_in_its_own_folder_and_leaves_other_files_there(settings, tmp_path):
    plant(tmp_path / "mine", notes__txt="precious")
    assert run(settings, tmp_path / "mine").made
    assert kind_of(tmp_path / "mine") == "run"
    assert run(settings, tmp_path / "mine").made == 0
    # Runs of before folders had a mark go on as well.
    (tmp_path / "mine/embcomp.json").unlink()
    assert kind_of(tmp_path / "mine") == "run" and run(settings, tmp_path / "mine").made == 0
    assert (tmp_path / "mine/notes.txt").read_text() == "precious"
    with pytest.raises(ArtifactError, match="holds a run, not a sweep"):
        check_results(tmp_path / "mine", "sweep", ["curve.csv"])
    with pytest.raises(ArtifactError, match="holds a run, which a compressor must not replace"):
        Compressor(2, "pca").fit(ROWS).save(tmp_path / "mine")


def test_a_sweep_writes_over_no_curve_of_anybody_else(tones, tmp_path):
    manifest = Manifest.read(tones)
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(len(manifest), 6)))
    plant(tmp_path / "mine", curve__csv="x,y\n1,2\n")
    options = {"dims": [2], "methods": ["pca"], "folds": 2}
    with pytest.raises(ArtifactError, match=r"is no folder of a sweep and holds curve\.csv"):
        sweep(tmp_path / "e.npy", manifest, tmp_path / "mine", **options)
    assert (tmp_path / "mine/curve.csv").read_text() == "x,y\n1,2\n"
    for _ in range(2):
        found = sweep(tmp_path / "e.npy", manifest, tmp_path / "sweep", **options)
    assert set(found.curve["unseen"]) == {"groups"}
    (tmp_path / "sweep/embcomp.json").unlink()  # as sweeps were before
    sweep(tmp_path / "e.npy", manifest, tmp_path / "sweep", **options)


def test_compress_names_what_is_there_and_advises_to_delete_compressors_alone(tones, tmp_path):
    manifest = Manifest.read(tones)
    write_store(tmp_path / "s", manifest.ids, manifest.ids, 4, {}, lambda rows: ROWS[rows % 20] + rows[:, None])
    config = CompressorConfig("pca", "reconstruction", 2)
    for name in FOREIGN:
        plant(tmp_path / name, **FOREIGN[name])
        with pytest.raises(ArtifactError, match="already exists") as caught:
            compress(tmp_path / "s", tmp_path / name, config=config)
        assert "delete" not in str(caught.value)
    (tmp_path / "c").mkdir()
    compress(tmp_path / "s", tmp_path / "c", config=config)
    with pytest.raises(ArtifactError, match=r"already exists \(compressor\); delete it or choose another --out"):
        compress(tmp_path / "s", tmp_path / "c", config=config)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ArtifactError, match=r"file already exists \(not of embcomp\); choose another --out"):
        compress(tmp_path / "s", tmp_path / "file", config=config)


def test_a_damaged_table_is_advised_to_be_deleted_only_among_the_stages_of_a_run(settings, tmp_path):
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(ArtifactError, match="it is no file of a run that embcomp made") as caught:
        Predictions.load(tmp_path / "mine.csv")
    assert "delete" not in str(caught.value)
    folder = run(settings, tmp_path / "run").folder
    path = next((folder / "stages/predictions").iterdir())
    path.write_text("damaged")
    with pytest.raises(ArtifactError, match="delete it and run again"):
        Predictions.load(path)


def test_the_demo_keeps_files_that_were_put_beside_its_own(tmp_path):
    render(tmp_path, clips=8, shifted_clips=8)
    first = sorted(tmp_path.iterdir())[0]
    (first / "audio/mine.wav").write_text("precious")
    with pytest.raises(ConfigError, match=r"contains mine\.wav beside the demo, which would be lost"):
        render(tmp_path, clips=16, shifted_clips=8)
    assert (first / "audio/mine.wav").read_text() == "precious"
    shutil.rmtree(first)
    plant(first, demo__json={"made_by": "somebody"})
    with pytest.raises(ConfigError, match="contains other files"):
        render(tmp_path, clips=8, shifted_clips=8)


def test_a_report_writes_over_reports_alone(settings, tmp_path):
    folder = run(settings, tmp_path / "run").folder
    (tmp_path / "report.md").write_text("# My thesis\n")
    with pytest.raises(ArtifactError, match=r"report\.md is there already and is no report of embcomp"):
        write_report([folder], tmp_path / "report.html")  # which would put its Markdown there
    with pytest.raises(ArtifactError, match=r"report\.md is there already"):
        write_report([folder], tmp_path / "report.md")
    (tmp_path / "page.html").write_text("<html>mine</html>")
    with pytest.raises(ArtifactError, match=r"page\.html is there already and is no report"):
        write_report([folder], tmp_path / "page.html")
    assert (tmp_path / "report.md").read_text() == "# My thesis\n"
    for _ in range(2):
        write_report([folder], tmp_path / "own.html")


def test_scores_are_not_written_over_a_manifest(tones, tmp_path):
    student = Classifier.new(["high", "low"], AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    student.save(tmp_path / "s")
    before = tones.read_bytes()
    done = CliRunner().invoke(group, ["evaluate", str(tmp_path / "s"), str(tones), "--out", str(tones)])
    assert isinstance(done.exception, ArtifactError) and "no table of scores" in str(done.exception)
    assert tones.read_bytes() == before
    for _ in range(2):
        done = CliRunner().invoke(
            group, ["evaluate", str(tmp_path / "s"), str(tones), "--out", str(tmp_path / "o.csv")]
        )
        assert done.exit_code == 0, done.output


def test_no_message_advises_to_delete_what_was_not_looked_at():
    """Every text of the package that speaks of deleting is one of those this file knows."""
    from pathlib import Path

    import embcomp

    known = {
        "storage/ownership.py": 2,  # after kind_of and strangers, or of_a_stage
        "storage/store.py": 1,  # after kind_of and strangers
        "training/loop.py": 1,  # a checkpoint whose key was read and fits
    }
    package = Path(embcomp.__file__).parent
    found = {}
    for path in package.rglob("*.py"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "delete it" in line.lower()]
        texts = [line for line in lines if '"' in line and not line.lstrip().startswith(("#", '"""'))]
        if texts:
            found[path.relative_to(package).as_posix()] = len(texts)
    assert found == known


def test_marks_and_kinds(tmp_path):
    assert kind_of(tmp_path / "nothing") == kind_of(tmp_path) == ""
    mark_results(tmp_path / "r", "sweep")
    assert kind_of(tmp_path / "r") == "sweep"
    plant(tmp_path / "theatre")
    os.makedirs(tmp_path / "theatre/stages/students")
    assert kind_of(tmp_path / "theatre") == ""
    with pytest.raises(EmbcompError):
        refuse_other(tmp_path / "theatre", "run", ())


def test_what_a_killed_writer_left_of_its_own_files_is_not_in_the_way(tmp_path):
    folder = tmp_path / ".s.partial"
    plant(folder, data__npy="x")
    (folder / ".meta.json.4242.tmp").write_text("half")
    assert len(store(tmp_path / "s")) == 2
    (tmp_path / "s/.index.csv.4242.tmp").write_text("half")
    assert len(write_store(tmp_path / "s", ["a"], ["h"], 2, {}, lambda rows: np.zeros((len(rows), 2)))) == 1
    plant(folder, __thesis__tex__4242__tmp="precious")
    with pytest.raises(StoreError, match="holds .thesis.tex.4242.tmp"):
        store(tmp_path / "s2") and write_store(tmp_path / "s", ["b"], ["h"], 2, {}, lambda rows: np.zeros((1, 2)))
