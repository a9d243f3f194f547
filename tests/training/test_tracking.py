"""Curves for TensorBoard, MLflow and Weights & Biases: every row once, settings with them, and nothing of the student changed."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from helpers.tones import write_tones

from embcomp.config import AudioConfig, TrainingConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, MissingDependencyError
from embcomp.training.distill import distill
from embcomp.training.tracking import TRACKERS, MLflow, TensorBoard, Tracker, WandB, flat

AUDIO = AudioConfig(seconds=0.4, n_mels=16)


class Kept(Tracker):
    """Remembers what it was told."""

    name, package = "kept", ""
    made: list[Kept] = []

    def __init__(self, title, settings, folder):
        self.title, self.settings, self.folder, self.rows, self.closed = title, settings, folder, [], False
        Kept.made.append(self)

    def log(self, step, values):
        self.rows.append({"step": step, **values})

    def close(self):
        self.closed = True


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setitem(TRACKERS, "kept", Kept)
    monkeypatch.setattr(Kept, "made", [])
    return Kept.made


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return Manifest.read(write_tones(tmp_path_factory.mktemp("tracking"), groups=4, clips=2))


def trained(tones, out, log="none", progress=None, **training):
    training = {"steps": 6, "batch_size": 8, "evaluate_every": 2, "checkpoint_every": 1, **training}
    content = {"transfer": {"method": "none"}, "student": {"width": 8, "embedding": 8}, "training": training}
    variant = parse(content | {"training": training | {"log": log}}).variants[0]
    return distill(tones, out, variant=variant, audio=AUDIO, progress=progress)


def history(out):
    return json.loads((out / "history.json").read_text(encoding="utf-8"))


def test_a_tracker_gets_every_row_of_the_history_with_the_settings(tones, tmp_path, kept):
    trained(tones, tmp_path / "student", "kept")
    (tracker,) = kept
    assert tracker.rows == history(tmp_path / "student") and len(tracker.rows) == 3
    assert tracker.closed and tracker.folder == tmp_path / "student.log"
    assert tracker.settings["training.steps"] == 6 and tracker.settings["transfer.method"] == "none"
    assert tracker.title == "tones, none, seed 0"


def test_the_student_is_the_same_and_is_not_trained_again_for_it(tones, tmp_path, kept):
    trained(tones, tmp_path / "plain")
    trained(tones, tmp_path / "tracked", "kept")
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("plain", "tracked"))
    assert one == other
    assert TrainingConfig(log="wandb").key() == TrainingConfig().key()
    trained(tones, tmp_path / "plain", "kept")
    assert len(kept) == 1


def test_after_an_interruption_the_rows_of_before_come_too(tones, tmp_path, kept):
    def stop(steps, done=[0]):  # noqa: B006
        done[0] += steps
        if done[0] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tones, tmp_path / "student", "kept", stop)
    trained(tones, tmp_path / "student", "kept")
    before, after = kept
    assert before.closed and [row["step"] for row in before.rows] == [2, 4]
    assert [row["step"] for row in after.rows] == [2, 4, 6] and after.rows == history(tmp_path / "student")


@pytest.mark.parametrize("tracker", [TensorBoard, MLflow, WandB])
def test_a_package_that_is_missing_is_named_before_anything_is_trained(tones, tmp_path, monkeypatch, tracker):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=f"'{tracker.name}' needs .*pip install {tracker.package}"):
        trained(tones, tmp_path / "student", tracker.name)
    assert not list(tmp_path.iterdir())


def test_an_unknown_tracker_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        parse({"training": {"log": "tensorbord"}})


def test_tensorboard_reads_the_curves_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard("title", {"training.steps": 6}, tmp_path / "log")
    for step in (2, 4):
        tracker.log(step, {"validation_score": step / 10, "validation_loss": 1.0})
    tracker.close()
    found = EventAccumulator(str(tmp_path / "log"))
    found.Reload()
    assert [(one.step, round(one.value, 6)) for one in found.Scalars("validation_score")] == [(2, 0.2), (4, 0.4)]


def test_mlflow_gets_a_run_of_the_experiment_with_parameters_it_takes(monkeypatch):
    calls = []

    class Client:
        def get_experiment_by_name(self, name):
            calls.append(("experiment", name))

        def create_experiment(self, name):
            return "7"

        def create_run(self, experiment, run_name):
            calls.append(("run", experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="r"))

        def log_param(self, run, name, value):
            calls.append(("param", name, value))

        def log_metric(self, run, name, value, step):
            calls.append(("metric", run, name, value, step))

        def set_terminated(self, run):
            calls.append(("end", run))

    for name, content in {"mlflow": {}, "mlflow.tracking": {"MlflowClient": Client}}.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    tracker = MLflow("title", {"a": "x" * 9999}, "unused")
    tracker.log(3, {"loss": 0.5})
    tracker.close()
    assert calls[:2] == [("experiment", "mine"), ("run", "7", "title")]
    assert calls[2][:2] == ("param", "a") and len(calls[2][2]) == MLflow.longest
    assert calls[3:] == [("metric", "r", "loss", 0.5, 3), ("end", "r")]


def test_wandb_gets_steps_and_settings(monkeypatch, tmp_path):
    calls = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append((values, step)), finish=lambda: calls.append("finished")
    )
    module = ModuleType("wandb")
    module.init = lambda **options: calls.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    tracker = WandB("title", {"a": 1}, tmp_path / "log")
    tracker.log(3, {"loss": 0.5})
    tracker.close()
    assert calls == [
        {"project": "embcomp", "name": "title", "config": {"a": 1}, "dir": str(tmp_path / "log")},
        ({"loss": 0.5}, 3),
        "finished",
    ]


def test_names_are_dotted():
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
