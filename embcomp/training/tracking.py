"""Curves of a training in TensorBoard, MLflow or Weights & Biases, while it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from embcomp.errors import MissingDependencyError
from embcomp.extras import imported, install, is_missing


class Tracker:
    """Gets the rows of a training's history as they come; this one keeps none.

    Parameters
    ----------
    title : str
        Of the training, for people.
    settings : mapping
        Names, as ``section.key``, to values.
    folder : path
        Where files may be written, by trackers that write some.
    """

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "nothing"
    package: ClassVar[str] = ""

    def __init__(self, title: str, settings: Mapping[str, Any], folder: str | os.PathLike):
        pass

    @classmethod
    def check(cls) -> None:
        """Refuse a tracker whose package is not installed.

        Raises
        ------
        MissingDependencyError
            With the command that installs it.
        """
        if cls.package and is_missing(cls.package):
            raise MissingDependencyError(f"training.log = {cls.name!r} needs {cls.package}: {install(cls.package)}")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the values of a step."""

    def close(self) -> None:
        """The training is over."""


class TensorBoard(Tracker):
    """Event files in the folder: ``tensorboard --logdir FOLDER`` shows them."""

    name, summary, package = "tensorboard", "event files for TensorBoard", "tensorboard"

    def __init__(self, title: str, settings: Mapping[str, Any], folder: str | os.PathLike):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(os.fspath(folder))
        lines = (f"| {name} | {value} |" for name, value in settings.items())
        self._writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *lines]))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """See `Tracker`."""
        self._writer.close()


class MLflow(Tracker):
    """A run of the experiment that ``MLFLOW_EXPERIMENT_NAME`` names, where ``MLFLOW_TRACKING_URI`` says."""

    name, summary, package = "mlflow", "a run of MLflow", "mlflow"
    longest: ClassVar[int] = 500  # characters of a value that every version takes

    def __init__(self, title: str, settings: Mapping[str, Any], folder: str | os.PathLike):
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        wanted = os.environ.get("MLFLOW_EXPERIMENT_NAME", "embcomp")
        known = self._client.get_experiment_by_name(wanted)
        experiment = self._client.create_experiment(wanted) if known is None else known.experiment_id
        self._run = self._client.create_run(experiment, run_name=title).info.run_id
        for name, value in settings.items():
            self._client.log_param(self._run, name, str(value)[: self.longest])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._run)


class WandB(Tracker):
    """A run of Weights & Biases, of the project that ``WANDB_PROJECT`` names."""

    name, summary, package = "wandb", "a run of Weights & Biases", "wandb"

    def __init__(self, title: str, settings: Mapping[str, Any], folder: str | os.PathLike):
        wandb = imported("wandb", "training.log = 'wandb' needs")
        Path(folder).mkdir(parents=True, exist_ok=True)
        project = os.environ.get("WANDB_PROJECT", "embcomp")
        self._run = wandb.init(project=project, name=title, config=dict(settings), dir=os.fspath(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {one.name: one for one in (Tracker, TensorBoard, MLflow, WandB)}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted names.

    Examples
    --------
    >>> flat({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
