"""CLIP-Teacher-KD: a teacher in the loop trains what its cached vectors train."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.runs import tiny
from helpers.settings import transfer_settings
from helpers.tones import write_tones
from helpers.transfer_cases import FAST, WIDTH, batch_of, examples, new_student, prepared, teacher_vectors, trained

from embcomp.cli import group
from embcomp.config import VariantConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError
from embcomp.pipeline import run
from embcomp.students.classifier import Classifier
from embcomp.teachers import KMeansTeacher
from embcomp.training.distill import distill
from embcomp.training.loop import train
from embcomp.transfer import build_transfer

SETTINGS = {
    "training.steps": 12, "training.batch_size": 6, "training.evaluate_every": 6, "student.width": 16, "audio.n_mels": 24,
    "audio.seconds": 0.4, "teacher.centroids": 8, "teacher.whitened": 16, "teacher.patches": 1000,
}  # fmt: skip
OPTIONS = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]


def same_weights(one: torch.nn.Module, other: torch.nn.Module, **tolerance) -> bool:
    found, expected = one.state_dict(), other.state_dict()
    return found.keys() == expected.keys() and all(
        torch.allclose(found[name].float(), expected[name].float(), **tolerance) for name in found
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return write_tones(tmp_path_factory.mktemp("sets") / "home", groups=4, clips=3, name="home").parent


def embcomp(*arguments) -> None:
    done = CliRunner().invoke(group, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output + repr(done.exception)


@pytest.mark.parametrize("faithful", [False, True])
def test_it_trains_exactly_what_cached_vectors_train(faithful):
    data = examples(unlabelled=12)
    (one, in_loop), (other, cached) = (
        trained(prepared(method, data, faithful=faithful), data, steps=40)
        for method in ("clip_teacher", "clip_samples")
    )
    assert in_loop.history == cached.history
    assert same_weights(one, other, rtol=0, atol=0)


def test_each_clip_of_a_batch_is_embedded_once_and_without_a_gradient():
    asked = []

    def teacher(rows: np.ndarray) -> np.ndarray:
        asked.append((rows.tolist(), torch.is_grad_enabled()))
        return teacher_vectors()[rows]

    transfer = build_transfer(transfer_settings(method="clip_teacher"), False, teacher=teacher)
    transfer.prepare(None, examples().labels, WIDTH)
    vectors = transfer.target_of(batch_of(examples(), [7, 2, 7, 40]))
    assert [rows for rows, _ in asked] == [[0], [2, 7, 40]] and not asked[1][1]
    np.testing.assert_array_equal(vectors.numpy(), teacher_vectors()[[7, 2, 7, 40]])
    assert not vectors.requires_grad


def test_it_keeps_no_vector():
    data = examples()
    transfer = prepared("clip_teacher", data)
    trained(transfer, data, steps=2)
    assert transfer.state_dict().keys() == {"projection.weight", "projection.bias"}
    assert sum(buffer.numel() for buffer in transfer.buffers()) == 0


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path):
    class Interrupted(Exception):
        pass

    def stop(_: int, left=[26]) -> None:  # noqa: B006 the list is the counter
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted

    data = examples()
    settings = {**FAST.__dict__, "steps": 40, "checkpoint_every": 10}
    config = type(FAST)(**settings)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        train(
            new_student(), prepared("clip_teacher", data), data, examples(seed=1), config,
            seed=0, checkpoint=path, progress=stop,
        )  # fmt: skip
    resumed, first = new_student(), []
    result = train(
        resumed, prepared("clip_teacher", data), data, examples(seed=1), config,
        seed=0, checkpoint=path, progress=first.append,
    )  # fmt: skip
    assert first[0] == 20
    unbroken, expected = trained(prepared("clip_teacher", data), data, steps=40)
    assert result.history == expected.history and same_weights(resumed, unbroken, rtol=0, atol=0)


def test_the_command_line_trains_the_same_student_from_the_teacher_and_from_its_store(home, tmp_path):
    manifest = home / "manifest.csv"
    embcomp("embed", manifest, "--teacher", "kmeans", "--seconds", 0.4, "--out", tmp_path / "store", *OPTIONS)
    common = [manifest, "--seed", 3, *OPTIONS]
    teacher = f"kmeans:{tmp_path / 'store.teacher'}"
    embcomp("distill", *common, "--transfer", "clip_teacher", "--teacher", teacher, "--out", tmp_path / "loop")
    store = tmp_path / "store"
    embcomp("distill", *common, "--transfer", "clip_samples", "--targets", store, "--out", tmp_path / "cached")
    one, other = Classifier.load(tmp_path / "loop"), Classifier.load(tmp_path / "cached")
    assert same_weights(one.network, other.network, rtol=1e-3, atol=1e-4)
    assert one.about["teacher"] == other.about["teacher"] == "kmeans" and one.about["dim"] == other.about["dim"] == 24
    # What stands and was made from the same is returned.
    embcomp("distill", *common, "--transfer", "clip_teacher", "--teacher", teacher, "--out", tmp_path / "loop")


def test_a_run_trains_the_same_student_from_the_teacher_and_from_its_store(home, tmp_path):
    methods = ("clip_teacher", "clip_samples")
    content = tiny(
        home.parent, seeds=[0], split={"folds": 2, "validation": 0.5, "labels_per_class": 1},
        variants=[{"name": name, "transfer": {"method": name}} for name in methods],
    )  # fmt: skip
    content["data"]["cross"] = []
    first = run(parse(content), tmp_path / "run")
    history = pd.read_csv(first.folder / "history.csv")
    columns = ["fold", "step", "prediction", "contrast", "validation_loss", "validation_score"]
    one, other = (history[history["variant"] == name][columns].to_numpy() for name in methods)
    np.testing.assert_allclose(one, other, rtol=1e-3)
    assert len(one) == 4
    teachers = sorted((first.folder / "stages/teachers").iterdir())
    assert len(teachers) == 2
    again = run(parse(content), tmp_path / "run")
    assert again.made == 0 and again.reused == first.made

    # A teacher of another run comes in by its folder, but not where it was learned from what is tested.
    content["variants"] = [{"name": "given", "transfer": {"method": "clip_teacher"}}]
    content["teacher"] = {"spec": f"kmeans:{teachers[0]}"}
    with pytest.raises(DataError, match=f"the teacher kmeans:{teachers[0]} was learned from .* of these clips"):
        run(parse(content), tmp_path / "given")
    other = write_tones(tmp_path / "other", groups=2, name="other", seed=9)
    embcomp("embed", other, "--teacher", "kmeans", "--seconds", 0.4, "--out", tmp_path / "o", *OPTIONS)
    content["teacher"] = {"spec": f"kmeans:{tmp_path / 'o.teacher'}"}
    given = run(parse(content), tmp_path / "given")
    assert set(given.scores[given.scores["variant"] == "given"]["teacher"]) == {content["teacher"]["spec"]}


def test_a_teacher_that_was_deleted_is_learned_again_where_a_student_needs_it(home, tmp_path):
    content = tiny(home.parent, seeds=[0], variants=[{"name": "loop", "transfer": {"method": "clip_teacher"}}])
    content["data"]["cross"] = []
    first = run(parse(content), tmp_path / "run")
    shutil.rmtree(first.folder / "stages/teachers")
    shutil.rmtree(first.folder / "stages/students")
    second = run(parse(content), tmp_path / "run")
    pd.testing.assert_frame_equal(first.scores, second.scores)


def test_a_run_refuses_stored_vectors_before_it_starts(home, tmp_path):
    np.save(tmp_path / "vectors.npy", np.zeros((24, 4), dtype=np.float32))
    content = tiny(
        home.parent,
        teacher={"spec": f"store:{tmp_path / 'vectors.npy'}"},
        variants=[{"name": "loop", "transfer": {"method": "clip_teacher"}}],
    )
    content["data"]["cross"] = []
    with pytest.raises(
        ConfigError, match="holds vectors and cannot run at every step, as clip_teacher asks; use clip_samples"
    ):
        run(parse(content), tmp_path / "run")
    assert not (tmp_path / "run/stages/embeddings").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--transfer", "clip_teacher"],
            "runs a teacher; give --teacher NAME:FOLDER, or use --transfer clip_samples",
        ),
        (
            ["--transfer", "clip_teacher", "--teacher", "store:x"],
            "cannot run at every step, as clip_teacher asks; use clip_samples",
        ),
        (
            ["--transfer", "clip_teacher", "--teacher", "kmeans"],
            "kmeans has to be learned from clips first; name one that was, kmeans:FOLDER",
        ),
        (["--transfer", "clip_teacher", "--teacher", "kmean:x"], "did you mean 'kmeans'"),
    ],
)
def test_misuse_on_the_command_line(home, tmp_path, arguments, message):
    out = str(tmp_path / "x")
    done = CliRunner().invoke(group, ["distill", str(home / "manifest.csv"), "--out", out, *arguments, *OPTIONS])
    assert isinstance(done.exception, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise done.exception


def test_misuse_of_a_teacher(home, tmp_path):
    manifest = Manifest.read(home / "manifest.csv")
    teacher = KMeansTeacher(torch.zeros(128), torch.zeros(128, 4), torch.eye(4))
    with pytest.raises(
        ConfigError, match="'none' runs no teacher; leave --teacher out, or use --transfer clip_teacher"
    ):
        distill(manifest, tmp_path / "x", variant=variant("none"), teacher=teacher)


def variant(method: str) -> VariantConfig:
    return VariantConfig(transfer=transfer_settings(method=method))
