"""One training loop for every student and every transfer method.

Two more things are trained here, each by a loop of its own. `embcomp.compression.loop` passes over vectors read
from disk in epochs, without augmentation or draws, and needs torch alone. `embcomp.knowledge_clip.training` trains
two encoders on captions and has nothing to validate on. What a loop does the same way is shared: early stopping
(`embcomp.learning`), drawing clips (`embcomp.training.examples`), the step (`embcomp.training.steps`).
"""

from __future__ import annotations

import io
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embcomp.audio.augment import mixing_shares
from embcomp.config import TrainingConfig
from embcomp.distributed import ALONE, Group, current
from embcomp.errors import ArtifactError, ConfigError, DataError, EmbcompWarning
from embcomp.learning import EarlyStopping
from embcomp.losses import prediction_loss
from embcomp.metrics import METRICS, monitored, score
from embcomp.storage.files import check_regular, fingerprint, write_bytes
from embcomp.training.augment import augmented_apart, mixed
from embcomp.training.averaging import AveragedWeights
from embcomp.training.examples import Drawable, Examples, Streamed, sampling_weights, steps_of
from embcomp.training.optimiser import SmallAdamW
from embcomp.training.parallel import Lessons, shared_logits
from embcomp.training.steps import Descent
from embcomp.training.tracking import Tracker
from embcomp.transfer import Batch, Mixing, Transfer

WARM = 20  # steps before their speed is believed


@dataclass
class TrainingResult:
    """What came out of `train`.

    Attributes
    ----------
    history : list of dict
        One row per evaluation: step, mean of each loss term since the last one,
        learning rate, validation loss and score.
    best_step : int
        The step whose weights the student now has.
    best_score : float
        Its validation score.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_step: int = 0
    best_score: float = float("nan")


def validate(
    student: nn.Module, examples: Examples | Streamed, monitor: str, group: Group = ALONE
) -> tuple[float, float]:
    """Score, higher is better, and task loss on held-out clips with labels, the same in all processes of a group.

    A `monitor` that is not for several labels becomes mAP there; one of which lower is better is negated. Where no
    class has both kinds of label, which leaves the metric without a value, the score is the negative loss.
    """
    logits = shared_logits(student, examples, len(examples.labels.classes), group)
    labels = examples.labels
    loss = float(prediction_loss(logits, torch.from_numpy(labels.matrix), labels.multi_label))
    probabilities = (logits.sigmoid() if labels.multi_label else logits.softmax(1)).numpy()
    name = monitored(monitor, labels.multi_label)
    found = score(name, labels.matrix, probabilities, len(labels.classes), multi_label=labels.multi_label)
    if math.isnan(found):
        return -loss, loss
    return (found if METRICS[name].higher_is_better else -found), loss


def train(
    student: nn.Module,
    transfer: Transfer,
    fit: Drawable,
    validation: Examples | Streamed,
    config: TrainingConfig,
    *,
    seed: int,
    device: str = "cpu",
    checkpoint: str | os.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
    tracker: Tracker | None = None,
) -> TrainingResult:
    """Train `student` in place and leave it with the weights that validated best.

    Where this process has joined others (`embcomp.distributed.joined`), all of them call this with the same arguments,
    share every batch and end with the same weights; the first one writes the checkpoint.

    Parameters
    ----------
    transfer : Transfer
        Prepared with the rows of `fit`, in their order. Its parameters are trained too.
    seed : int
        Decides batches, augmentation and dropout. Initial weights are the caller's.
    checkpoint : path, optional
        File to go on from if it fits, and to write every ``checkpoint_every`` steps.
    progress : callable, optional
        Called with the number of steps just done.
    tracker : Tracker, optional
        Gets every row of the history, those of before an interruption too.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ConfigError
        The frames would be shifted away from targets that are over time, or a batch has fewer clips than there are
        processes, or these differ in what they train on.
    DataError
        There is no labelled clip to validate on, or the loss is not finite.
    """
    if transfer.over_time and config.roll and not config.views:
        raise ConfigError(
            "training.roll shifts the student's frames away from the teacher's, which transfer.frames compares; "
            "set training.roll to 0"
        )
    if not validation.labels.labelled.any():
        raise DataError("no labelled clip to validate on; label more groups or lower split.validation")
    group = current()
    if config.batch_size < group.world:
        raise ConfigError(
            f"training.batch_size is {config.batch_size}, too few clips for {group.world} processes; raise it, or start fewer"
        )
    if config.accumulate > 1 and transfer.compares_clips:
        warnings.warn(
            f"training.accumulate: {transfer.name} compares the clips of a batch with each other, and sees "
            f"{config.batch_size} at a time, not {config.accumulate * config.batch_size}",
            EmbcompWarning,
            stacklevel=2,
        )
    run = _Run(student, transfer, fit, config, seed, device, group)
    checkpoint = Path(checkpoint) if checkpoint is not None else None
    key = fingerprint(
        {
            "config": config.key(),
            "seed": seed,
            "clips": len(fit.labels),
            "shapes": [list(p.shape) for p in run.parameters],
        }
    )
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint, key)
    run.agree(key)
    validation = validation.to(device)
    if progress is not None:
        progress(run.step)
    tracked = 0
    while run.step < run.steps and not run.stopping.exhausted:
        run.one_step()
        if progress is not None:
            progress(1)
        # Before labels take part, a score would say nothing, and waiting for a better one would end the training.
        learns_labels = run.step > transfer.label_free * run.steps
        if run.step == run.steps or (run.step % config.evaluate_every == 0 and learns_labels):
            run.evaluate(validation)
        while tracker is not None and tracked < len(run.result.history):
            row = dict(run.result.history[tracked])
            tracker.log(int(row.pop("step")), row)
            tracked += 1
        if checkpoint is not None and group.first and run.step % config.checkpoint_every == 0:
            run.save(checkpoint, key)
    run.stopping.restore()
    student.load_state_dict(run.averaged.average.state_dict())
    student.eval()
    return run.result


class _Run:
    """State of one training: everything a checkpoint must hold."""

    def __init__(
        self,
        student: nn.Module,
        transfer: Transfer,
        fit: Drawable,
        config: TrainingConfig,
        seed: int,
        device: str,
        group: Group = ALONE,
    ):
        self.student, self.transfer, self.config, self.device = student.to(device), transfer.to(device), config, device
        self.group = group
        self.student.train()
        self.transfer.train()
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.fit = fit.to(device)
        if hasattr(student, "norm"):
            student.norm.fit_parts(fit.parts())  # where the clips are: in double precision, which not every device has
        self.labels = torch.from_numpy(fit.labels.matrix).to(device)
        self.unlabelled = torch.from_numpy(~fit.labels.labelled).to(device)
        drawn = transfer.sampling_weights()
        self.weights = sampling_weights(fit.labels, config.balanced, config.labelled) if drawn is None else drawn
        self.parameters = [*student.parameters(), *transfer.parameters()]
        # Fused: one pass over all parameters; step by step over each, this would take a tenth of a small student's time.
        self.optimiser = SmallAdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.descent = Descent(self.optimiser)
        self.lessons = Lessons(student, transfer, config.amp, group, self.example)
        self.averaged = AveragedWeights(student, config.averaging)
        self.stopping = EarlyStopping(self.averaged.average, config.patience)
        self.steps = steps_of(config, fit.labels)
        self.step, self.elapsed = 0, 0.0
        self.result = TrainingResult()

    def rate(self) -> float:
        """Linear warm-up, then a half cosine to zero."""
        warmup = max(1, round(self.config.warmup * self.steps))
        if self.step < warmup:
            return self.config.learning_rate * (self.step + 1) / warmup
        done = (self.step - warmup) / max(1, self.steps - warmup)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def agree(self, key: str) -> None:
        """Check that all processes are about to do the same, and give them the same weights."""
        self.group.check_agreement({"settings or clips": key, "the step of their checkpoint": self.step})
        for parameter in self.parameters if self.group.world > 1 else ():
            self.group.of_first_(parameter.data)

    def example(self) -> Batch:
        """Two clips, as they are."""
        self.student.train()
        rows = torch.arange(2)
        features, lengths = self.fit.at(rows)
        rows = rows.to(self.device)
        return Batch(features, lengths, self.labels[rows], rows, progress=0.0)

    def batch(self) -> Batch:
        """The next batch; where processes share it, its features are those of this process's clips."""
        size, share = self.config.batch_size, self.lessons.share(self.config.batch_size)
        own = slice(None) if share is None else share.own
        rows, lengths, features = self.fit.draw(self.weights, size, self.generator, share)
        labels, mixing = self.labels[rows], None
        unlabelled = self.unlabelled[rows]
        if self.config.mixup:
            partners, partner_lengths, others = self.fit.draw(self.weights, size, self.generator, share)
            shares = mixing_shares(len(rows), self.config.mixup, self.generator).to(self.device)
            mixing = Mixing(partners, partner_lengths, shares)
            features = mixed(features, lengths[own], others, partner_lengths[own], shares[own])
            labels = mixing.of(labels, self.labels[partners])
        features = augmented_apart(features, lengths[own], unlabelled, self.config, self.generator, share)
        return Batch(features, lengths, labels, rows, mixing, self.step / self.steps)

    def one_step(self) -> None:
        started = time.perf_counter()
        if not self.student.training:  # a validation has been; to tell every layer takes a while
            self.student.train()
        if not self.transfer.training:
            self.transfer.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.descent.begin()
        for part in range(self.config.accumulate):
            with self.lessons.summed(last=part == self.config.accumulate - 1):
                self.descent.add(self.lessons(self.batch()), self.step, self.config.accumulate)
        self.descent.take()
        self.averaged.update()
        self.step += 1
        if self.config.minutes:
            # Of one clock, so that all processes end at the same step.
            self.elapsed = self.group.of_first(self.elapsed + time.perf_counter() - started)
            self.steps = self._steps_in_time()

    def _steps_in_time(self) -> int:
        """How many steps the minutes will hold at the speed so far; those done where time is up."""
        limit = 60 * self.config.minutes
        if self.elapsed >= limit:
            return self.step
        return max(self.step + 1, round(self.step * limit / self.elapsed)) if self.step >= WARM else self.steps

    def evaluate(self, validation: Examples | Streamed) -> None:
        self.transfer.finish(self.student)
        student = self.averaged.average
        if student is not self.student:
            self.transfer.finish(student)
        value, loss = validate(student, validation, self.config.monitor, self.group)
        row = {"step": self.step, **self.descent.means()}
        row |= {"learning_rate": self.rate(), "validation_loss": loss, "validation_score": value}
        self.result.history.append(row)
        # Small validation sets tie often; of equal scores the lower loss is the better student.
        if self.stopping.offer(value, -loss):
            self.result.best_step, self.result.best_score = self.step, value

    def save(self, path: Path, key: str) -> None:
        content: dict[str, Any] = {
            "key": key,
            "step": self.step,
            "steps": self.steps,
            "elapsed": self.elapsed,
            "sums": self.descent.sums,
            "result": asdict(self.result),
            "best_loss": -self.stopping.best[1] if self.stopping.best else math.inf,
            "best_state": self.stopping.state,
            "waited": self.stopping.waited,
            "student": self.student.state_dict(),
            "transfer": self.transfer.state_dict(),
            "average": self.averaged.average.state_dict() if self.averaged.decay else {},
            "averaged": self.averaged.steps,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "rng": torch.get_rng_state(),
        }
        if torch.device(self.device).type == "cuda":
            content["device_rng"] = torch.cuda.get_rng_state_all()
        whole = io.BytesIO()
        torch.save(content, whole)  # not into the file: of a full disk torch says "unexpected pos 128 vs 0"
        write_bytes(path, whole.getbuffer(), "the checkpoint ")

    def restore(self, path: Path, key: str) -> None:
        try:
            check_regular(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["key"] != key:
                return
        except Exception:  # whatever is wrong with a checkpoint, starting again fixes it
            return
        try:
            self._take(content)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ArtifactError(f"the checkpoint {path} is damaged ({error}); delete it") from error

    def _take(self, content: dict[str, Any]) -> None:
        self.student.load_state_dict(content["student"])
        self.transfer.load_state_dict(content["transfer"])
        if self.averaged.decay:
            self.averaged.average.load_state_dict(content["average"])
            self.averaged.steps = content["averaged"]
        self.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        torch.set_rng_state(content["rng"])
        if torch.device(self.device).type == "cuda" and "device_rng" in content:
            torch.cuda.set_rng_state_all(content["device_rng"])
        self.result = TrainingResult(**content["result"])
        self.step, self.descent.sums = content["step"], content["sums"]
        self.steps, self.elapsed = content["steps"], content["elapsed"]
        self.descent.count = self.step - (self.result.history[-1]["step"] if self.result.history else 0)
        self.stopping.state, self.stopping.waited = content["best_state"], content["waited"]
        self.stopping.best = (self.result.best_score, -content["best_loss"]) if self.stopping.state else None
