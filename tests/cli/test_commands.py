from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.command import answered, call
from helpers.tones import write_tones

import embcomp
from embcomp.cli import COMMANDS
from embcomp.config import CompressorConfig
from embcomp.storage.store import EmbeddingStore

ROOT = Path(__file__).resolve().parents[2]
SMALL_TEACHER = ["--set", "teacher.centroids=8", "--set", "teacher.whitened=16"]
FAST = [
    "--set",
    "training.steps=20",
    "--set",
    "training.batch_size=8",
    "--set",
    "student.width=16",
    "--set",
    "audio.n_mels=24",
]


def test_help_names_every_command():
    done = call("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    done = answered(name, "--help")
    assert done.returncode == 0 and "Usage:" in done.stdout


def test_a_misspelt_command_names_the_nearest():
    done = call("distil")
    assert done.returncode == 2 and "did you mean 'distill'" in done.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Every step once, on tones."""
    folder = tmp_path_factory.mktemp("cli")
    home = write_tones(folder / "home", groups=4, clips=3, name="home")
    abroad = write_tones(folder / "abroad", groups=2, clips=2, name="abroad", seed=9)
    steps = [
        ["embed", home, "--teacher", "kmeans", "--out", folder / "emb", "--seconds", "0.4", *SMALL_TEACHER],
        ["embed", abroad, "--teacher", f"kmeans:{folder / 'emb.teacher'}", "--out", folder / "emb2", "--seconds", "0.4"],
        ["compress", folder / "emb", "--manifest", home, "--method", "linear", "--objective", "task", "--dim", 4, "--out", folder / "comp"],
        ["apply", folder / "comp", folder / "emb", "--out", folder / "targets"],
        ["distill", home, "--targets", folder / "targets", "--transfer", "compressed", "--out", folder / "student", *FAST],
        ["evaluate", folder / "student", abroad, "--out", folder / "scores.csv"],
    ]  # fmt: skip
    done = [answered(*step) for step in steps]
    assert all(one.returncode == 0 for one in done), "\n".join(one.stderr for one in done)
    return folder, done, steps


def test_embed_compress_apply_distill_evaluate(work):
    folder, done, _ = work
    assert "24 clips, 24 dimensions" in done[0].stdout
    assert EmbeddingStore.open(folder / "emb2").dim == 24
    targets = EmbeddingStore.open(folder / "targets")
    assert targets.dim == 4 and len(targets) == 24
    assert "`kmeans` (learned from" in (folder / "student/README.md").read_text(encoding="utf-8")
    scores = pd.read_csv(folder / "scores.csv")
    assert list(scores["metric"]) == ["accuracy", "balanced_accuracy", "macro_f1", "mAP", "roc_auc", "log_loss", "ece"]
    assert (scores["test_dataset"] == "abroad").all() and (scores["n"] == 8).all()
    assert (
        (scores["method"] == "compressed").all()
        and (scores["teacher"] == "kmeans").all()
        and (scores["dim"] == 4).all()
    )


def test_sweep_names_a_size_and_draws_the_curve(work):
    folder, _, _ = work
    done = answered(
        "sweep", folder / "emb", "--manifest", folder / "home/manifest.csv",
        "--dims", "1,4", "--methods", "pca,linear", "--folds", 2, "--out", folder / "sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dimensions by" in done.stdout or "no size is within" in done.stdout
    curve = pd.read_csv(folder / "sweep/curve.csv")
    assert set(curve["method"]) == {"identity", "pca", "linear"} and set(curve["dim"]) == {1, 4, 24}
    assert (folder / "sweep/curve.png").stat().st_size > 1000


def test_the_library_does_the_same_as_the_commands(work):
    folder, _, _ = work
    manifest = embcomp.Manifest.read(folder / "home/manifest.csv")
    options = {"centroids": 8, "whitened": 16}
    found = embcomp.embed(manifest, folder / "lib/emb", teacher="kmeans", options=options, seconds=0.4)
    assert np.array_equal(found.store.data, EmbeddingStore.open(folder / "emb").data)
    config = CompressorConfig("linear", "task", 4)
    embcomp.compress(folder / "emb", folder / "lib/comp", manifest=manifest, config=config)
    targets = embcomp.apply(folder / "lib/comp", folder / "emb", folder / "lib/targets")
    assert np.array_equal(targets.data, EmbeddingStore.open(folder / "targets").data)
    for name in ("weights.safetensors", "config.json"):
        assert (folder / "lib/comp" / name).read_bytes() == (folder / "comp" / name).read_bytes()
    student = embcomp.Classifier.load(folder / "student")
    found = embcomp.evaluate(student, embcomp.Manifest.read(folder / "abroad/manifest.csv"))
    written = pd.read_csv(folder / "scores.csv")
    assert np.allclose(found.table["value"], written["value"], atol=1e-6)


CALLS = (
    "apply",
    "compress",
    "distill",
    "embed",
    "evaluate",
    "matrix",
    "predict",
    "run",
    "sweep",
    "validate",
    "write_report",
)


@pytest.mark.parametrize("name", [*CALLS, "demo.render", "doctor.examine"])
def test_a_command_has_its_library_call(name):
    module, _, function = f"embcomp.{name}".rpartition(".")
    assert inspect.getdoc(getattr(importlib.import_module(module), function))


def test_repeating_a_step_is_harmless(work):
    folder, _, steps = work
    before = (folder / "student/weights.safetensors").stat().st_mtime_ns
    for number in (0, 3, 4):
        assert answered(*steps[number]).returncode == 0
    assert (folder / "student/weights.safetensors").stat().st_mtime_ns == before


def test_the_trained_clips_are_not_scored_by_mistake(work):
    folder, _, _ = work
    done = answered("evaluate", folder / "student", folder / "home/manifest.csv", "--out", folder / "no.csv")
    assert done.returncode == 2 and "was trained on 24 of these clips" in done.stderr
    assert not (folder / "no.csv").exists()
    allowed = answered(
        "evaluate", folder / "student", folder / "home/manifest.csv", "--out", folder / "yes.csv", "--allow-seen"
    )
    assert allowed.returncode == 0


def test_another_student_is_not_overwritten(work):
    folder, _, steps = work
    done = answered(*steps[4], "--seed", 1)
    assert done.returncode == 2 and "another student is at" in done.stderr


def test_joint_schedule_from_raw_embeddings(work):
    folder, _, _ = work
    done = answered(
        "distill", folder / "home/manifest.csv", "--targets", folder / "emb", "--out", folder / "joint",
        "--set", "transfer.schedule=joint", "--set", "compressor.dim=4", *FAST,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def spoiled(tmp_path):
    """A manifest with every kind of unusable file, and the reason each must be given."""
    manifest = write_tones(tmp_path / "bad", groups=3, clips=2)
    table = pd.read_csv(manifest)
    audio = manifest.parent
    kinds = {}

    def spoil(number, reason, write):
        path = audio / table["path"][number]
        path.unlink()
        write(path)
        kinds[number + 2] = reason

    tone = np.sin(np.arange(4000) / 10)
    spoil(0, "no such file", lambda path: None)
    spoil(1, "the file is empty", lambda path: path.touch())
    spoil(2, "not readable as audio", lambda path: path.write_bytes(b"RIFF and nothing more"))
    spoil(
        3,
        "NaN or infinite",
        lambda path: soundfile.write(path, np.where(np.arange(4000) == 7, np.nan, tone), 16000, subtype="FLOAT"),
    )
    spoil(4, "has no samples", lambda path: soundfile.write(path, np.zeros(0), 16000))
    spoil(5, "8 channels", lambda path: soundfile.write(path, np.stack([tone] * 8, axis=1), 16000))
    return manifest, kinds


def test_every_bad_file_is_named_with_its_row_and_nothing_is_written(spoiled, tmp_path):
    manifest, kinds = spoiled
    done = answered("embed", manifest, "--teacher", "kmeans", "--out", tmp_path / "out" / "emb")
    assert done.returncode == 2
    assert "6 of 12 clips cannot be used" in done.stderr and "Traceback" not in done.stderr
    for row, reason in kinds.items():
        line = next(line for line in done.stderr.splitlines() if f"row {row}:" in line)
        assert reason in line
    assert not (tmp_path / "out").exists()


def test_skip_bad_counts_them(spoiled, tmp_path):
    manifest, _ = spoiled
    done = answered("embed", manifest, "--teacher", "kmeans", "--out", tmp_path / "emb", "--skip-bad", *SMALL_TEACHER)
    assert done.returncode == 0, done.stderr
    assert "6 clips" in done.stdout and "6 unusable clips left out" in done.stdout
    assert len(EmbeddingStore.open(tmp_path / "emb")) == 6


CONFIG = """
name = "cli"
seeds = [0]
workers = 1
[data]
train = "home/manifest.csv"
[audio]
seconds = 0.4
n_mels = 24
[split]
folds = 2
validation = 0.5
[student]
width = 16
[training]
steps = 10
batch_size = 8
evaluate_every = 5
[[variants]]
name = "none"
transfer.method = "none"
"""


def test_run_prints_the_table_and_a_rerun_says_there_is_nothing_to_do(tmp_path):
    write_tones(tmp_path / "data/home", groups=4, clips=2)
    (tmp_path / "config.toml").write_text(CONFIG)
    command = ["run", tmp_path / "config.toml", "--set", f"data.root={tmp_path / 'data'}", "--out", tmp_path / "out"]
    first = call(*command)
    assert first.returncode == 0, first.stderr
    assert "| none | " in first.stdout and "scores.csv" in first.stderr
    again = call(*command)
    assert again.returncode == 0 and "nothing to do: all" in again.stderr
    assert again.stdout == first.stdout
    saved = tomllib.loads((tmp_path / "out/config.toml").read_text())
    assert saved["training"]["steps"] == 10


@pytest.mark.parametrize(
    "override, message",
    [
        ("training.stepz=3", "did you mean 'steps'"),
        ("training.steps=many", "must be a whole number"),
        ("nonsense", "takes section.key=value"),
        ("device=cudda", "no such device 'cudda'"),
    ],
)
def test_bad_settings_are_told_in_words(tmp_path, override, message):
    write_tones(tmp_path / "home", groups=4, clips=1)
    (tmp_path / "config.toml").write_text(CONFIG)
    done = answered("run", tmp_path / "config.toml", "--set", override, "--out", tmp_path / "out")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["embed", "{home}", "--teacher", "kmeanz", "--out", "{tmp}/e"], "did you mean 'kmeans'"),
        (["embed", "{tmp}/none.csv", "--teacher", "kmeans", "--out", "{tmp}/e"], "no manifest at"),
        (["compress", "{tmp}/none", "--out", "{tmp}/c"], "needs labels; add --manifest"),
        (["compress", "{tmp}/none", "--manifest", "{home}", "--out", "{tmp}/c"], "no embeddings at"),
        (["apply", "{tmp}/none", "{tmp}/none", "--out", "{tmp}/t"], "no compressor at"),
        (["distill", "{home}", "--out", "{tmp}/s"], "give --targets STORE"),
        (["distill", "{home}", "--transfer", "non", "--out", "{tmp}/s"], "did you mean 'none'"),
        (["evaluate", "{tmp}/none", "{home}", "--out", "{tmp}/s.csv"], "no student at"),
        (["sweep", "{tmp}/none", "--manifest", "{home}", "--out", "{tmp}/w"], "no embeddings at"),
        (["sweep", "{tmp}/none", "--manifest", "{home}", "--dims", "two", "--out", "{tmp}/w"], "whole numbers separated by commas"),
        (["run", "{tmp}/none.toml", "--out", "{tmp}/r"], "cannot read"),
        (["distill", "{home}", "--transfer", "none", "--out", "{tmp}/s", "--device", "cuda:9"], "no CUDA device|no such device"),
    ],
)  # fmt: skip
def test_misuse_exits_with_2_and_words(tones, tmp_path, arguments, message):
    import re

    done = answered(*(part.format(home=tones, tmp=tmp_path) for part in arguments))
    assert done.returncode == 2, done.stderr
    assert re.search(message, done.stderr) and "Traceback" not in done.stderr
