"""One training loop for every student and every transfer method."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.audio.augment import augment, mix, mixing_shares
from embcomp.config import TrainingConfig
from embcomp.data.labels import Labels
from embcomp.errors import ArtifactError, ConfigError, DataError, EmbcompError
from embcomp.losses import prediction_loss
from embcomp.metrics import METRICS, monitored, score
from embcomp.storage.files import check_regular, fingerprint, recover
from embcomp.students.inference import predict_logits
from embcomp.students.output import unless_full
from embcomp.transfer import Batch, Mixing, Transfer


@dataclass(frozen=True)
class Examples:
    """Clips as a student sees them.

    Attributes
    ----------
    features : Tensor of shape (n, n_mels, frames)
    lengths : Tensor of shape (n,)
        Valid frames.
    labels : Labels
    """

    features: Tensor
    lengths: Tensor
    labels: Labels

    def to(self, device: str) -> Examples:
        """The same on another device."""
        return Examples(self.features.to(device), self.lengths.to(device), self.labels)


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


def sampling_weights(labels: Labels, balanced: bool, labelled: float = 0.0) -> Tensor:
    """Probability of drawing each clip, float64 (n,), summing to 1.

    Balanced: every class is drawn equally often (of a clip's several labels the
    rarest counts).

    Parameters
    ----------
    labels : Labels
    balanced : bool
    labelled : float in [0, 1], default=0.0
        Least share of the draws that goes to clips with a label. In proportion to their number, a few
        labels among many clips would leave a batch with hardly one, and the task loss with noise.
    """
    strata = labels.for_splits
    count = len(strata)
    known = strata >= 0
    if not known.any():
        return torch.full((count,), 1.0 / count, dtype=torch.float64)
    share = 1.0 if known.all() else max(labelled, known.mean())
    weights = np.full(count, (1.0 - share) / max(np.count_nonzero(~known), 1))
    members = np.bincount(strata[known]) if balanced else np.array([np.count_nonzero(known)])
    weights[known] = (share / np.count_nonzero(members)) / members[strata[known] if balanced else 0]
    return torch.from_numpy(weights)


def validate(student: nn.Module, examples: Examples, monitor: str) -> tuple[float, float]:
    """Score, higher is better, and task loss on held-out clips with labels.

    A `monitor` that is not for several labels becomes mAP there; one of which lower is better is negated. Where no
    class has both kinds of label, which leaves the metric without a value, the score is the negative loss.
    """
    logits = predict_logits(student, examples.features, examples.lengths)
    labels = examples.labels
    loss = float(prediction_loss(logits, torch.from_numpy(labels.matrix), labels.multi_label))
    chances = (logits.sigmoid() if labels.multi_label else logits.softmax(1)).numpy()
    name = monitored(monitor, labels.multi_label)
    found = score(name, labels.matrix, chances, len(labels.classes), multi_label=labels.multi_label)
    if math.isnan(found):
        return -loss, loss
    return (found if METRICS[name].higher_is_better else -found), loss


def train(
    student: nn.Module,
    transfer: Transfer,
    fit: Examples,
    validation: Examples,
    config: TrainingConfig,
    *,
    seed: int,
    device: str = "cpu",
    checkpoint: str | os.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrainingResult:
    """Train `student` in place and leave it with the weights that validated best.

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

    Returns
    -------
    TrainingResult

    Raises
    ------
    ConfigError
        The frames would be shifted away from targets that are over time.
    DataError
        There is no labelled clip to validate on, or the loss is not finite.
    """
    if transfer.over_time and config.roll:
        raise ConfigError(
            "training.roll shifts the student's frames away from the teacher's, which transfer.frames compares; "
            "set training.roll to 0"
        )
    if not validation.labels.labelled.any():
        raise DataError("no labelled clip to validate on; label more groups or lower split.validation")
    run = _Run(student, transfer, fit, config, seed, device)
    checkpoint = Path(checkpoint) if checkpoint is not None else None
    key = fingerprint(
        {
            "config": asdict(config),
            "seed": seed,
            "clips": len(fit.labels),
            "shapes": [list(p.shape) for p in run.parameters],
        }
    )
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint, key)
    validation = validation.to(device)
    if progress is not None:
        progress(run.step)
    while run.step < config.steps and not run.stopped:
        run.one_step()
        if progress is not None:
            progress(1)
        if run.step % config.evaluate_every == 0 or run.step == config.steps:
            run.evaluate(validation)
        if checkpoint is not None and run.step % config.checkpoint_every == 0:
            run.save(checkpoint, key)
    student.load_state_dict(run.best_state)
    student.eval()
    return run.result


class _Run:
    """State of one training: everything a checkpoint must hold."""

    def __init__(
        self, student: nn.Module, transfer: Transfer, fit: Examples, config: TrainingConfig, seed: int, device: str
    ):
        self.student, self.transfer, self.config, self.device = student.to(device), transfer.to(device), config, device
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        if hasattr(student, "norm"):
            student.norm.fit(fit.features.to(device), fit.lengths.to(device))
        self.fit = fit.to(device)
        self.labels = torch.from_numpy(fit.labels.matrix).to(device)
        drawn = transfer.sampling_weights()
        self.weights = sampling_weights(fit.labels, config.balanced, config.labelled) if drawn is None else drawn
        self.parameters = [*student.parameters(), *transfer.parameters()]
        # Fused: one pass over all parameters; step by step over each, this would take a tenth of a small student's time.
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.step = 0
        self.waited = 0
        self.sums: dict[str, float] = {}
        self.result = TrainingResult()
        self.best_loss = math.inf
        self.best_state: dict[str, Tensor] = {}

    @property
    def stopped(self) -> bool:
        return bool(self.config.patience) and self.waited >= self.config.patience

    def rate(self) -> float:
        """Linear warm-up, then a half cosine to zero."""
        warmup = max(1, round(self.config.warmup * self.config.steps))
        if self.step < warmup:
            return self.config.learning_rate * (self.step + 1) / warmup
        done = (self.step - warmup) / max(1, self.config.steps - warmup)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def batch(self) -> Batch:
        rows, lengths, features = self.draw()
        labels, mixing = self.labels[rows], None
        if self.config.mixup:
            partners, partner_lengths, others = self.draw()
            shares = mixing_shares(len(rows), self.config.mixup, self.generator).to(self.device)
            mixing = Mixing(partners, partner_lengths, shares)
            features = mix(features, lengths, others, partner_lengths, shares)
            labels = mixing.of(labels, self.labels[partners])
        return Batch(augment(features, lengths, self.config, self.generator), lengths, labels, rows, mixing)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, lengths and features of as many clips as a batch has."""
        rows = torch.multinomial(self.weights, self.config.batch_size, replacement=True, generator=self.generator).to(
            self.device
        )
        lengths = self.fit.lengths[rows]
        return rows, lengths, self.fit.features[rows][..., : int(lengths.max())]

    def one_step(self) -> None:
        self.student.train()
        self.transfer.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        batch = self.batch()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.amp):
            output = self.student(batch.features, unless_full(batch.lengths, batch.features.shape[-1]))
        terms = self.transfer.loss(output, batch)
        loss = sum(terms.values())
        if not torch.isfinite(loss):
            values = {name: float(term.detach()) for name, term in terms.items()}
            raise DataError(f"the loss is not finite at step {self.step} ({values}); lower training.learning_rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(term.detach())

    def evaluate(self, validation: Examples) -> None:
        value, loss = validate(self.student, validation, self.config.monitor)
        steps = self.step - (self.result.history[-1]["step"] if self.result.history else 0)
        row = {"step": self.step, **{name: total / steps for name, total in self.sums.items()}}
        row |= {"learning_rate": self.rate(), "validation_loss": loss, "validation_score": value}
        self.result.history.append(row)
        self.sums = {}
        best = self.result.best_score
        # Small validation sets tie often; of equal scores the lower loss is the better student.
        if math.isnan(best) or value > best or (value == best and loss < self.best_loss):
            self.result.best_step, self.result.best_score, self.best_loss = self.step, value, loss
            self.best_state = {
                name: tensor.detach().cpu().clone() for name, tensor in self.student.state_dict().items()
            }
            self.waited = 0
        else:
            self.waited += 1

    def save(self, path: Path, key: str) -> None:
        content: dict[str, Any] = {
            "key": key,
            "step": self.step,
            "waited": self.waited,
            "sums": self.sums,
            "result": asdict(self.result),
            "best_loss": self.best_loss,
            "best_state": self.best_state,
            "student": self.student.state_dict(),
            "transfer": self.transfer.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "rng": torch.get_rng_state(),
        }
        if torch.device(self.device).type == "cuda":
            content["device_rng"] = torch.cuda.get_rng_state_all()
        path.parent.mkdir(parents=True, exist_ok=True)
        recover(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            torch.save(content, temporary)
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch tells a full disk by a RuntimeError
            temporary.unlink(missing_ok=True)
            raise EmbcompError(
                f"cannot write the checkpoint {path}: {getattr(error, 'strerror', None) or error}"
            ) from error

    def restore(self, path: Path, key: str) -> None:
        try:
            check_regular(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["key"] != key:
                return
        except Exception:  # whatever is wrong with a checkpoint, starting afresh mends it
            return
        try:
            self._take(content)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ArtifactError(f"the checkpoint {path} is damaged ({error}); delete it") from error

    def _take(self, content: dict[str, Any]) -> None:
        self.student.load_state_dict(content["student"])
        self.transfer.load_state_dict(content["transfer"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        torch.set_rng_state(content["rng"])
        if torch.device(self.device).type == "cuda" and "device_rng" in content:
            torch.cuda.set_rng_state_all(content["device_rng"])
        self.step, self.waited, self.sums = content["step"], content["waited"], content["sums"]
        self.result = TrainingResult(**content["result"])
        self.best_loss, self.best_state = content["best_loss"], content["best_state"]
